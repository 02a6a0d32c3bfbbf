import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { afterEach, expect, test } from 'vitest'
import { assessment, User } from '../../src/assessment/index.ts'
import { redisCache } from '../../src/cache/redis/redis-cache.ts'
import { createDataAccess } from '../../src/data-access.ts'
import { silentLogger } from '../../src/kernel/logger.ts'
import { checkReads, type FuzzBounds, type FuzzObservation, type FuzzOptions, startFuzzProcess } from '../support/cache-fuzz.ts'
import { emailOf, firstName, fuzzModule } from '../support/cache-fuzz-module.ts'
import { openTestDatabase } from '../support/databases.ts'
import { openTestRedis } from '../support/redis.ts'
import { openProxyTo, type TcpProxy } from '../support/tcp-proxy.ts'

const forMs = process.env.SOAK === '1' ? 300_000 : 5_000
const atOnce = 3
const sweepMs = 200
/** The interval, with generous slack for slow machines. */
const sweptMs = sweepMs + 2500

const opened: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close()
})

test('the check of the fuzz finds a stale read, and only such a one', () => {
  const commit = (version: number, at: number, by = 1): FuzzObservation => ({ kind: 'committed', by, id: 'a', version, at })
  const read = (version: number, at: number, by = 1): FuzzObservation => ({ kind: 'read', by, id: 'a', version, at })
  const staleOf = (observations: FuzzObservation[], copiesMs?: number, bounds: FuzzBounds = { copiesMs }) =>
    checkReads(observations, bounds).stale.length
  expect(staleOf([commit(1, 10), read(1, 11), read(2, 12), commit(2, 20), read(1, 20)])).toBe(0)
  expect(staleOf([read(1, 21), commit(2, 20), commit(1, 10)])).toBe(1)
  // With copies another process may follow later, but not this one, and no more than so long.
  expect(staleOf([commit(1, 1000), commit(2, 5000), read(1, 5999, 2), read(1, 4000)], 1)).toBe(0)
  expect(staleOf([commit(1, 1000), commit(2, 5000), read(1, 5001)], 1)).toBe(1)
  expect(staleOf([commit(1, 1000), commit(2, 5000), read(1, 6001, 2)], 1)).toBe(1)
  expect(staleOf([commit(1, 1000), commit(2, 5000), read(0, 5001, 2)], 1)).toBe(1)
  // So it may if Redis did not acknowledge the commit, and no more than so long.
  const untold: FuzzObservation = { ...commit(2, 5000), unacknowledged: true }
  expect(staleOf([commit(1, 1000), untold, read(1, 5999, 2), read(1, 4000)], undefined, { sweptMs: 1 })).toBe(0)
  expect(staleOf([commit(1, 1000), untold, read(1, 5001)], undefined, { sweptMs: 1 })).toBe(1)
  expect(staleOf([commit(1, 1000), untold, read(1, 6001, 2)], undefined, { sweptMs: 1 })).toBe(1)
  expect(staleOf([commit(1, 1000), untold, read(0, 5999, 2)], undefined, { sweptMs: 1 })).toBe(1)
})

test.each([
  { how: 'without copies' },
  // Shorter than the network is away at times.
  { how: 'with copies in each process', copiesMs: 300 },
])(
  'readers, writers, crashes, flushes and a bad network in several processes $how: no read gives less than it must',
  {
    timeout: forMs + 120_000,
  },
  async ({ copiesMs }) => {
    const database = await openTestDatabase('postgresql')
    opened.push(() => database.close())
    const redis = await openTestRedis()
    opened.push(() => redis.close())
    const data = await createDataAccess({
      ...{ modules: [assessment, fuzzModule], database: { url: database.url }, logger: silentLogger },
      cache: redisCache({ url: redis.url, prefix: redis.prefix, timeoutMs: 5000, sweepMs }),
    })
    opened.push(() => data.close())
    await data.migrate()
    const users = await data.unitOfWork(async ({ em }) =>
      Array.from({ length: 5 }, (_, number) => em.create(User, { email: emailOf(number, 0), name: firstName })),
    )
    const options: Omit<FuzzOptions, 'redisUrl' | 'timeoutMs'> = {
      ...{ url: database.url, prefix: redis.prefix, sweepMs },
      users: users.map(({ id }) => id),
      ...(copiesMs === undefined ? {} : { copiesMs }),
    }
    const observations: FuzzObservation[] = []
    const [atHand, queryHits] = [new Map<number, number>(), new Map<number, number>()]
    const running = new Map<ChildProcess, TcpProxy>()
    let processes = 0
    const start = async () => {
      const proxy = await openProxyTo(redis.url)
      const number = processes++
      // One in two gives Redis up as soon as by default, the others wait for it however long it is stalled.
      const timeoutMs = number % 2 === 0 ? 50 : 5000
      const child = await startFuzzProcess({ ...options, redisUrl: proxy.url, timeoutMs }, (report) => {
        for (const seen of report.observations) observations.push(seen)
        atHand.set(number, report.atHand)
        queryHits.set(number, report.queryHits)
      })
      running.set(child, proxy)
    }
    const crash = async (child: ChildProcess) => {
      const proxy = running.get(child)
      running.delete(child)
      if (child.exitCode === null && child.signalCode === null) {
        const ended = once(child, 'exit')
        child.kill('SIGKILL')
        await ended
      }
      await proxy?.close()
    }
    opened.push(() => Promise.all([...running.keys()].map(crash)))
    await Promise.all(Array.from({ length: atOnce }, start))

    const client = new Redis(redis.url)
    opened.push(async () => client.disconnect())
    const end = Date.now() + forMs
    let [crashes, flushes, cuts] = [0, 0, 0]
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
        const [victim] = running.keys()
        if (victim !== undefined) await crash(victim)
        crashes += 1
        await start()
      }
    }
    const disturb = async () => {
      while (Date.now() < end) {
        await delay(Math.random() * 500)
        const proxies = [...running.values()]
        const proxy = proxies[Math.floor(Math.random() * proxies.length)]
        if (Math.random() < 0.5) proxy?.cut()
        else proxy?.stall()
        await delay(Math.random() * 500)
        proxy?.resume()
        cuts += 1
      }
    }
    await Promise.all([flush(), crashAndStart(), disturb()])
    await Promise.all([...running.keys()].map(crash))

    const { stale, checked, latestMs } = checkReads(observations, { copiesMs, sweptMs })
    const commits = observations.length - checked
    const unacknowledged = observations.filter((seen) => seen.unacknowledged).length
    const sum = (counts: Map<number, number>) => [...counts.values()].reduce((all, each) => all + each, 0)
    const copied = sum(atHand)
    console.log(
      `fuzz: ${checked} answers (${copied} from copies, ${sum(queryHits)} of the query) checked against ${commits} changes (${unacknowledged} unacknowledged), ${crashes} crashes, ${flushes} flushes, ${cuts} cuts and stalls, ${stale.length} stale; copies at most ${latestMs} ms behind`,
    )
    expect(stale).toEqual([])
    expect(observations.filter(({ version }) => version < 0)).toEqual([])
    expect(checked).toBeGreaterThan(100)
    expect(commits).toBeGreaterThan(10)
    expect(Math.min(unacknowledged, sum(queryHits))).toBeGreaterThan(0)
    expect(Math.min(crashes, flushes, cuts)).toBeGreaterThan(0)
    expect(copied > 0).toBe(copiesMs !== undefined)
  },
)
