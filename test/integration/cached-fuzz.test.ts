import { Redis } from 'ioredis'
import { expect, test } from 'vitest'
import { assessment, User } from '../../src/assessment/index.ts'
import { leaseWaitMs } from '../../src/cache/lease.ts'
import { redisCache } from '../../src/cache/redis/redis-cache.ts'
import { createDataAccess } from '../../src/data-access.ts'
import { runSql } from '../../src/database/sql.ts'
import { silentLogger } from '../../src/kernel/logger.ts'
import { checkReads, type FuzzBounds, type FuzzObservation } from '../support/cache-fuzz.ts'
import { cachedState, committedState, emailOf, firstName, fuzzModule } from '../support/cache-fuzz-module.ts'
import { FuzzProcesses, nobody } from '../support/cache-fuzz-processes.ts'
import { FuzzTroubles } from '../support/cache-fuzz-troubles.ts'
import { openCrowdedRedis } from '../support/crowded-redis.ts'
import { openTestDatabase } from '../support/databases.ts'
import { closesOpened } from '../support/opened.ts'
import { openTestRedis } from '../support/redis.ts'

const forMs = process.env.SOAK === '1' ? 300_000 : 5_000
/** For a lease of another process, or for an invalidation; ten times as long, for slow machines. */
const longestWaitMs = 10 * (leaseWaitMs + 100)
/** Longer than that: who waits until Redis answers is found. */
const stallMs = longestWaitMs + 1_000
const atOnce = 3
const sweepMs = 200
/** The interval, with generous slack for slow machines. */
const sweptMs = sweepMs + 2500

const track = closesOpened()

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
  { how: 'without copies, from a Redis that evicts too', evicts: true },
  // Shorter than the network is away at times.
  { how: 'with copies in each process', evicts: false, copiesMs: 300 },
])(
  'readers, writers, crashes, flushes and a bad network in several processes $how: no read gives less than it must, and none waits long',
  {
    timeout: forMs + 120_000,
  },
  async ({ how, evicts, copiesMs }) => {
    const database = track(await openTestDatabase('postgresql'))
    const { prefix, ...shared } = track(await openTestRedis())
    const crowded = evicts ? track(await openCrowdedRedis()) : undefined
    const redisUrl = crowded?.url ?? shared.url
    const data = track(
      await createDataAccess({
        ...{ modules: [assessment, fuzzModule], database: { url: database.url }, logger: silentLogger },
        cache: redisCache({ url: redisUrl, prefix, timeoutMs: 5000, sweepMs }),
      }),
    )
    await data.migrate()
    const users = await data.unitOfWork(async ({ em }) =>
      Array.from({ length: 5 }, (_, number) => em.create(User, { email: emailOf(number, 0), name: firstName })),
    )
    const ids = users.map(({ id }) => id)
    const url = new URL(database.url)
    url.searchParams.set('application_name', 'fuzz')
    const options = { url: url.href, redisUrl, prefix, sweepMs, users: ids, copiesMs }
    const processes = track(new FuzzProcesses(options, () => data.fork()))
    await Promise.all(Array.from({ length: atOnce }, () => processes.start()))

    const client = new Redis(redisUrl)
    track({ close: async () => client.disconnect() })
    const troubles = new FuzzTroubles(processes, client, prefix, forMs)
    const [crashes, flushes, disturbances] = await Promise.all([
      troubles.crashes(),
      troubles.flushes(),
      troubles.disturbances(),
      troubles.longStall(stallMs),
      crowded && troubles.evictions(crowded),
    ])
    // Redis has it all as they change it for the last time.
    await cachedState(data, ids)
    await processes.crashUnheard()

    const { observations } = processes
    const { stale, checked, latestMs } = checkReads(observations, { copiesMs, sweptMs })
    const commits = observations.filter(({ kind, by }) => kind === 'committed' && by !== nobody)
    const unacknowledged = commits.filter((commit) => commit.unacknowledged).length
    const [copied, queryHits] = [processes.sum('atHand'), processes.sum('queryHits')]
    const readMs = Math.round(processes.longestMs('read', ({ impatient }) => impatient))
    const commitMs = Math.round(processes.longestMs('commit'))
    const evicted = crowded?.evicted(prefix) ?? 0
    console.log(
      `fuzz ${how}: ${checked} answers (${copied} from copies, ${queryHits} of the query) checked against ${commits.length} changes (${unacknowledged} unacknowledged), ${crashes} crashes, ${flushes} flushes, ${evicted} evictions, ${disturbances} disturbances, ${stale.length} stale; copies at most ${latestMs} ms behind, reads at most ${readMs} ms, commits ${commitMs} ms`,
    )
    expect(stale).toEqual([])
    expect(observations.filter(({ version }) => version < 0)).toEqual([])
    expect(checked).toBeGreaterThan(100)
    expect(commits.length).toBeGreaterThan(10)
    expect(Math.min(unacknowledged, queryHits)).toBeGreaterThan(0)
    expect(Math.min(crashes, flushes, disturbances)).toBeGreaterThan(0)
    expect(copied > 0).toBe(copiesMs !== undefined)
    expect(evicted > 0).toBe(evicts)
    expect(Math.max(readMs, commitMs)).toBeLessThan(longestWaitMs)

    // Who died may yet commit what he had sent; then all is swept, and the cache has what the database has.
    const nobodyCommits = "select pid from pg_stat_activity where datname = current_database() and application_name = 'fuzz'"
    for (const left of [nobodyCommits, 'select id from cache_invalidations'])
      await expect.poll(() => runSql(data.fork(), left), { timeout: 20_000, interval: 20 }).toEqual([])
    expect(await cachedState(data, ids)).toEqual(await committedState(data.fork()))
  },
)
