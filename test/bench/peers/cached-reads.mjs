import { createCache } from 'async-cache-dedupe'
import { BentoCache, bentostore } from 'bentocache'
import { memoryDriver } from 'bentocache/drivers/memory'
import { redisDriver } from 'bentocache/drivers/redis'
import { Cacheable } from 'cacheable'
import { Redis } from 'ioredis'
import { Loader, RedisCache } from 'layered-loader'
import pg from 'pg'
import { measureReads, readTask, userText } from '../cache/measure.ts'

// Other caches, as their documents show them, with a thousand users in each. Arguments as of cache/cached-reads.ts.
const task = readTask()
const { contestant, databaseUrl, redisUrl, prefix, reads, concurrency } = task
const isMiss = contestant.endsWith('miss')
const isMany = contestant.endsWith('many')
const many = 100
const redis = new Redis(redisUrl, { enableAutoPipelining: concurrency > 1 || isMany })
const pool = new pg.Pool({ connectionString: databaseUrl, max: 1 })
const ttl = 600_000
const bentoStores = {
  redis: () => bentostore().useL2Layer(redisDriver({ connection: redis, prefix })),
  memory: () => bentostore().useL1Layer(memoryDriver({ maxItems: 10_000 })),
  shared: () => bentostore().useL1Layer(memoryDriver({ maxItems: 10_000, serialize: false })),
}

const ids = Array.from({ length: isMiss ? Math.ceil(reads * 1.5) : 1000 }, (_, n) => `user-${n}`)
if (isMiss) {
  await pool.query('create table users (id text primary key, body json not null)')
  await pool.query(`insert into users select id, $2::json from unnest($1::text[]) as id`, [ids, userText('user')])
}
const load = isMiss
  ? async (id) => (await pool.query({ name: 'user', text: 'select id, body from users where id = $1', values: [id] })).rows[0]
  : async (id) => JSON.parse(userText(id))

const dedupe = (storage) => {
  const cache = createCache({ ttl: ttl / 1000, storage })
  const name = `${prefix}user`
  cache.define(name, load)
  return (id) => cache[name](id)
}
const layered = (caches) =>
  new Loader({
    ...caches,
    cacheKeyFromValueResolver: ({ id }) => id,
    dataSources: [{ get: load, getMany: (keys) => Promise.all(keys.map(load)) }],
  })
const layeredRedis = () => layered({ asyncCache: new RedisCache(redis, { json: true, ttlInMsecs: ttl, prefix }) })
const bento = (store) => {
  const cache = new BentoCache({ default: 'users', stores: { users: bentoStores[store]() } })
  return (id) => cache.getOrSet({ key: id, ttl, factory: () => load(id) })
}
const each = (get) => (some) => Promise.all(some.map(get))

const [, name, where] = contestant.split(' ')
const readers = {
  'async-cache-dedupe': () => dedupe(where === 'memory' ? { type: 'memory' } : { type: 'redis', options: { client: redis } }),
  'layered-loader': () => {
    const inMemoryCache = { cacheType: 'lru-object', ttlInMsecs: ttl, maxItems: 10_000 }
    const loader = where === 'memory' ? layered({ inMemoryCache }) : layeredRedis()
    return isMany ? (some) => loader.getMany(some) : (id) => loader.get(id)
  },
  bentocache: () => bento(where in bentoStores ? where : 'redis'),
  cacheable: () => {
    const cache = new Cacheable({ ttl })
    return (id) => cache.getOrSet(id, () => load(id), { ttl })
  },
}
const get = readers[name]()
const getMany = name === 'layered-loader' ? get : each(get)
if (isMany) for (let n = 0; n < ids.length; n += many) await getMany(ids.slice(n, n + many))
else if (!isMiss) for (const id of ids) await get(id)
let turn = 0
const some = () => {
  turn += many
  const start = turn % (ids.length - many)
  return ids.slice(start, start + many)
}
const warmUp = isMiss ? Math.floor(reads / 4) : isMany ? 1000 : undefined
await measureReads(task, isMany ? () => getMany(some()) : () => get(ids[turn++ % ids.length]), warmUp)
redis.disconnect()
await pool.end()
process.exit(0)
