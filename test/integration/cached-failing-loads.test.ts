import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest'
import { assessment } from '../../src/assessment/index.ts'
import { leaseWaitMs, longestPollMs } from '../../src/cache/lease.ts'
import { createDataAccess } from '../../src/data-access.ts'
import { silentLogger } from '../../src/kernel/logger.ts'
import { Author } from '../support/cache-entities.ts'
import { openCacheGround } from '../support/cache-ground.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../support/databases.ts'
import { type FailingAnswer, type FailingOptions, type FailingProcess, startFailingProcess } from '../support/failing-process.ts'
import { closesOpened } from '../support/opened.ts'
import { openTestRedis, type TestRedis } from '../support/redis.ts'
import { repeats } from '../support/repeats.ts'
import { cachedName } from '../support/served-authors.ts'

const track = closesOpened()

describe.each(dialects)('loads that fail in processes on %s', { timeout: 120_000, repeats }, (dialect) => {
  let database: TestDatabase
  let redis: TestRedis
  const processes: FailingProcess[] = []
  beforeEach(async () => {
    database = await openTestDatabase(dialect)
    redis = await openTestRedis()
    const data = await createDataAccess({
      modules: [assessment],
      database: { url: database.url },
      cache: false,
      logger: silentLogger,
    })
    await data.migrate()
    await data.close()
  })
  afterEach(async () => {
    for (const each of processes.splice(0)) await each.kill()
    await redis.close()
    await database.close()
  })

  const start = async (options: Pick<FailingOptions, 'loadMs' | 'fails'>) => {
    const child = await startFailingProcess({ url: database.url, redisUrl: redis.url, prefix: redis.prefix, ...options })
    processes.push(child)
    return (callers: number, forMs: number, entry = 0) =>
      child.tell({ verb: 'read until it succeeds', entry, callers, forMs }) as Promise<FailingAnswer>
  }

  // A busy machine may take longer for a load than the others wait for it, and then promises nothing.
  const promises = (answers: readonly FailingAnswer[]) => answers.every(({ longestLeaseMs }) => longestLeaseMs < leaseWaitMs)

  test.each([
    ['while callers come back at once', 100, 2500],
    ['however soon', 0, 1000],
  ])('are never run at the same time, %s, and each process has its turns', async (_, loadMs, forMs) => {
    const reads = await Promise.all(Array.from({ length: 4 }, () => start({ loadMs, fails: true })))
    const turns = [0, 0, 0, 0]
    for (let calm = false; !calm || Math.min(...turns) === 0; ) {
      const answers = await Promise.all(reads.map((read) => read(5, forMs)))
      for (const [index, { loads }] of answers.entries()) turns[index] = (turns[index] ?? 0) + loads
      if (!promises(answers)) continue
      calm = true
      expect(Math.max(...answers.map(({ most }) => most))).toBe(1)
      // Whoever waits for his turn has looked meanwhile.
      expect(Math.min(...answers.flatMap(({ pausesMs }) => pausesMs))).toBeGreaterThan(longestPollMs)
    }
  })

  test('in one of them do not keep another from filling', async () => {
    const [fail, succeed] = [await start({ loadMs: 100, fails: true }), await start({ loadMs: 100, fails: false })]
    for (let entry = 0, calm = false; !calm; entry++) {
      const failing = fail(5, 5000, entry)
      await delay(200)
      const succeeded = await succeed(1, 5000, entry)
      const failed = await failing
      calm = promises([failed, succeeded])
      if (!calm) continue
      expect(succeeded).toMatchObject({ gave: ['read'], loads: 1, most: 1 })
      // What it has filled ends the row.
      expect(failed).toMatchObject({ gave: Array(5).fill('read'), most: 1 })
    }
  })
})

test.each(dialects)(
  'who waits on %s for a row that is written and loaded anew all the time reads it himself, as soon as for one load',
  { repeats },
  async (dialect) => {
    const ground = track(await openCacheGround(dialect, 'redis'))
    const { id } = await ground.author({ name: 'read' })
    const client = new Redis(inject('redisUrl'))
    track({ close: async () => client.disconnect() })
    // Until a process has swept once it reads from the database.
    while (ground.cache.cached(Author).stats().hits === 0) await cachedName(ground, id)
    let ended = false
    const lease = () => client.set(`${ground.prefix}Author:${id}`, `L${crypto.randomUUID()}`)
    const othersLoad = async () => {
      while (!ended) {
        await lease()
        await delay(20)
      }
    }
    await lease()
    const others = othersLoad()
    const begunAt = performance.now()
    expect(await cachedName(ground, id)).toBe('read')
    const tookMs = performance.now() - begunAt
    ended = true
    await others
    expect(tookMs).toBeGreaterThanOrEqual(leaseWaitMs)
    expect(tookMs).toBeLessThan(10 * leaseWaitMs)
    expect(await client.get(`${ground.prefix}Author:${id}`)).toMatch(/^L/)
  },
)
