import { createCache } from 'async-cache-dedupe'
import { BentoCache, bentostore } from 'bentocache'
import { memoryDriver } from 'bentocache/drivers/memory'
import { redisDriver } from 'bentocache/drivers/redis'
import { Cacheable } from 'cacheable'
import { Redis } from 'ioredis'
import { Loader, RedisCache } from 'layered-loader'
import { measureReads, readTask, userText } from '../cache/measure.ts'

// Other caches, as their documents show them, with a thousand users in each. Arguments as of cache/cached-reads.ts.
const task = readTask()
const { contestant, redisUrl, prefix, concurrency } = task
const ids = Array.from({ length: 1000 }, (_, n) => `user-${n}`)
const redis = new Redis(redisUrl, { enableAutoPipelining: concurrency > 1 })
const load = async (id) => JSON.parse(userText(id))
const ttl = 600_000

const peers = {
  'peer async-cache-dedupe': () => {
    const cache = createCache({ ttl: ttl / 1000, storage: { type: 'redis', options: { client: redis } } })
    cache.define('user', load)
    return (id) => cache.user(id)
  },
  'peer layered-loader redis': () => {
    const asyncCache = new RedisCache(redis, { json: true, ttlInMsecs: ttl, prefix })
    const loader = new Loader({ asyncCache, dataSources: [{ get: load }] })
    return (id) => loader.get(id)
  },
  'peer layered-loader memory': () => {
    const loader = new Loader({
      inMemoryCache: { cacheType: 'lru-object', ttlInMsecs: ttl, maxItems: 10_000 },
      dataSources: [{ get: load }],
    })
    return (id) => loader.get(id)
  },
  'peer bentocache redis': () => {
    const store = bentostore().useL2Layer(redisDriver({ connection: redis, prefix }))
    const bento = new BentoCache({ default: 'users', stores: { users: store } })
    return (id) => bento.getOrSet({ key: id, ttl, factory: () => load(id) })
  },
  'peer bentocache memory': () => {
    const store = bentostore().useL1Layer(memoryDriver({ maxItems: 10_000 }))
    const bento = new BentoCache({ default: 'users', stores: { users: store } })
    return (id) => bento.getOrSet({ key: id, ttl, factory: () => load(id) })
  },
  'peer cacheable': () => {
    const cache = new Cacheable({ ttl })
    return (id) => cache.getOrSet(id, () => load(id), { ttl })
  },
}
const get = peers[contestant]()
for (const id of ids) await get(id)
let turn = 0
await measureReads(task, () => get(ids[turn++ % ids.length]))
redis.disconnect()
process.exit(0)
