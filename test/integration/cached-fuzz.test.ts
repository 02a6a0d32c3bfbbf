import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { afterEach, expect, test } from 'vitest'
import { assessment, User } from '../../src/assessment/index.ts'
import { redisCache } from '../../src/cache/redis/redis-cache.ts'
import { createDataAccess } from '../../src/data-access.ts'
import { silentLogger } from '../../src/kernel/logger.ts'
import { type FuzzObservation, type FuzzOptions, staleReads, startFuzzProcess } from '../support/cache-fuzz.ts'
import { openTestDatabase } from '../support/databases.ts'
import { openTestRedis } from '../support/redis.ts'

const forMs = process.env.SOAK === '1' ? 300_000 : 5_000
const atOnce = 3

const opened: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close()
})

test('the check of the fuzz finds a stale read, and only such a one', () => {
  const commit = (version: number, at: number): FuzzObservation => ({ kind: 'committed', id: 'a', version, at })
  const read = (version: number, at: number): FuzzObservation => ({ kind: 'read', id: 'a', version, at })
  expect(staleReads([commit(1, 10), read(1, 11), read(2, 12), commit(2, 20), read(1, 20)]).stale).toEqual([])
  expect(staleReads([read(1, 21), commit(2, 20), commit(1, 10)]).stale).toHaveLength(1)
})

test('readers, writers, crashes and flushes in several processes: no read gives less than what was committed before it began', {
  timeout: forMs + 120_000,
}, async () => {
  const database = await openTestDatabase('postgresql')
  opened.push(() => database.close())
  const redis = await openTestRedis()
  opened.push(() => redis.close())
  const data = await createDataAccess({
    ...{ modules: [assessment], database: { url: database.url }, logger: silentLogger },
    cache: redisCache({ url: redis.url, prefix: redis.prefix, timeoutMs: 5000 }),
  })
  opened.push(() => data.close())
  await data.migrate()
  const users = await data.unitOfWork(async ({ em }) =>
    Array.from({ length: 5 }, (_, number) => em.create(User, { email: `${number}@fuzz.example`, name: '0' })),
  )
  const options: FuzzOptions = {
    ...{ url: database.url, redisUrl: redis.url, prefix: redis.prefix },
    users: users.map(({ id, email }) => ({ id, email })),
  }
  const observations: FuzzObservation[] = []
  const children = new Set<ChildProcess>()
  const start = async () => {
    children.add(await startFuzzProcess(options, (seen) => observations.push(...seen)))
  }
  const crash = async (child: ChildProcess) => {
    children.delete(child)
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }
  opened.push(() => Promise.all([...children].map(crash)))
  await Promise.all(Array.from({ length: atOnce }, start))

  const client = new Redis(redis.url)
  opened.push(async () => client.disconnect())
  const end = Date.now() + forMs
  let [crashes, flushes] = [0, 0]
  const flush = async () => {
    while (Date.now() < end) {
      await delay(Math.random() * 400)
      for await (const keys of client.scanStream({ match: `${redis.prefix}*`, count: 1000 })) {
        if (keys.length > 0) await client.unlink(keys)
      }
      flushes += 1
    }
  }
  const crashAndStart = async () => {
    while (Date.now() < end) {
      await delay(500 + Math.random() * 1000)
      const [victim] = children
      if (victim !== undefined) await crash(victim)
      crashes += 1
      await start()
    }
  }
  await Promise.all([flush(), crashAndStart()])
  await Promise.all([...children].map(crash))

  const { stale, checked } = staleReads(observations)
  const commits = observations.length - checked
  console.log(
    `fuzz: ${checked} reads checked against ${commits} commits, ${crashes} crashes, ${flushes} flushes, ${stale.length} stale`,
  )
  expect(stale).toEqual([])
  expect(observations.filter(({ version }) => version < 0)).toEqual([])
  expect(checked).toBeGreaterThan(100)
  expect(commits).toBeGreaterThan(10)
  expect(crashes).toBeGreaterThan(0)
  expect(flushes).toBeGreaterThan(0)
})
