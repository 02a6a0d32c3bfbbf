import { airScoreCache, assessment, latestScore, User } from '../../src/assessment/index.ts'
import { cachePolicy } from '../../src/cache/policy.ts'
import { redisCache } from '../../src/cache/redis/redis-cache.ts'
import { RedisStore } from '../../src/cache/redis/redis-store.ts'
import { createDataAccess } from '../../src/data-access.ts'
import { silentLogger } from '../../src/kernel/logger.ts'
import { type ParkedLoad, parkNextLoad } from './parked-load.ts'
import type { ParkingOptions, ParkingOrder, ParkingRead } from './parking-process.ts'

// A process with a cache whose reads tests can park on their way.
const { url, redisUrl, prefix, tierMs, staleAfterMs } = JSON.parse(process.argv[2] as string) as ParkingOptions
const users = cachePolicy(User, staleAfterMs === undefined ? {} : { ttl: staleAfterMs, jitter: 0, serveStale: 60_000 })
const data = await createDataAccess({
  modules: [{ ...assessment, caches: [users, airScoreCache, latestScore] }],
  database: { url },
  cache: redisCache({ url: redisUrl, prefix, timeoutMs: 5000, ...(tierMs === undefined ? {} : { tier: { ttl: tierMs } }) }),
  logger: silentLogger,
})

async function read(what: ParkingRead): Promise<unknown> {
  if (what.what === 'row') return (await data.cached(users).get(what.id))?.name
  if (what.what === 'rows') return (await data.cached(users).getMany(what.ids)).map((user) => user?.name)
  return (await data.cached(latestScore).get({ userId: what.id }))?.occupationCode ?? null
}

/** Parks the next answer of Redis of which a copy is to be kept. */
function parkNextCopy(): ParkedLoad {
  const { readWithLife } = RedisStore.prototype
  const [parked, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  RedisStore.prototype.readWithLife = async function (requests) {
    RedisStore.prototype.readWithLife = readWithLife
    const found = await readWithLife.call(this, requests)
    parked.resolve()
    await gate.promise
    return found
  }
  return { parked: parked.promise, resume: () => gate.resolve() }
}

let resume = async (): Promise<unknown> => undefined

async function follow(order: ParkingOrder): Promise<unknown> {
  switch (order.verb) {
    case 'read':
      return { gave: await read(order.read) }
    case 'park': {
      const load = order.where === 'load' ? parkNextLoad(data.orm) : parkNextCopy()
      const reading = read(order.read)
      await load.parked
      resume = () => {
        load.resume()
        return reading
      }
      return 'parked'
    }
    case 'resume':
      return { gave: await resume() }
    case 'tell figures': {
      const { refusedFills, atHand } = data.cached(users).stats()
      return { refusedFills, atHand }
    }
  }
}

process.on('message', async (order: ParkingOrder) => process.send?.((await follow(order)) as object))
process.on('disconnect', () => process.exit())
process.send?.('ready')
