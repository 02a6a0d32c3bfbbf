import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { assessment, User, userCache } from '../../src/assessment/index.ts'
import type { CacheStore } from '../../src/cache/cache-store.ts'
import { cachedQuery, dep } from '../../src/cache/cached-query.ts'
import { redisCache } from '../../src/cache/redis/redis-cache.ts'
import { createDataAccess } from '../../src/data-access.ts'
import { silentLogger } from '../../src/kernel/logger.ts'
import type { FailingAnswer, FailingOptions, FailingOrder } from './failing-process.ts'

// A process with a cache whose loads may fail. How many are under way in all processes is counted in Redis.
const { url, redisUrl, prefix, loadMs, fails } = JSON.parse(process.argv[2] as string) as FailingOptions
const counter = new Redis(redisUrl)
const underWay = `${prefix}under way`
let [loads, most, longestLeaseMs] = [0, 0, 0]
let endedAt: number | undefined
let pausesMs: number[] = []

const counted = cachedQuery({
  name: 'counted',
  dependsOn: (_: { entry: number }) => [dep(User)],
  run: async (em) => {
    loads += 1
    if (endedAt !== undefined) pausesMs.push(performance.now() - endedAt)
    most = Math.max(most, await counter.incr(underWay))
    try {
      await delay(loadMs)
      await em.getConnection().execute(fails ? 'select 1 from no_such_table' : 'select 1')
      return 'read'
    } finally {
      await counter.decr(underWay)
      endedAt = performance.now()
    }
  },
})

/** From before a lease is asked for until its end is acknowledged: longer than it lasts. */
function timed(store: CacheStore): CacheStore {
  const { acquire, fill } = store
  const begun = new Map<string, number>()
  store.acquire = (requests, leaseMs) => {
    for (const { token } of requests) begun.set(token, performance.now())
    return acquire.call(store, requests, leaseMs)
  }
  store.fill = async (fills) => {
    const stored = await fill.call(store, fills)
    for (const { token } of fills) longestLeaseMs = Math.max(longestLeaseMs, performance.now() - (begun.get(token) ?? 0))
    return stored
  }
  return store
}

const cache = redisCache({ url: redisUrl, prefix, timeoutMs: 5000 })
const data = await createDataAccess({
  modules: [{ ...assessment, caches: [userCache, counted] }],
  database: { url },
  cache: { ...cache, open: (surroundings) => timed(cache.open(surroundings)) },
  logger: silentLogger,
})

async function read({ entry, callers, forMs }: FailingOrder): Promise<FailingAnswer> {
  ;[loads, most, longestLeaseMs] = [0, 0, 0]
  pausesMs = []
  endedAt = undefined
  const endsAt = performance.now() + forMs
  const gave: unknown[] = []
  const call = async () => {
    while (performance.now() < endsAt) {
      try {
        gave.push(await data.cached(counted).get({ entry }))
        return
      } catch {
        // Again at once.
      }
    }
  }
  await Promise.all(Array.from({ length: callers }, call))
  return { gave, loads, most, longestLeaseMs, pausesMs }
}

// Until a process has swept once it reads from the database.
const nobody = crypto.randomUUID()
while (data.cached(userCache).stats().hits === 0) await data.cached(userCache).get(nobody)

process.on('message', async (order: FailingOrder) => process.send?.(await read(order)))
process.on('disconnect', () => process.exit())
process.send?.('ready')
