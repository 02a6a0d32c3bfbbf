import { createDataAccess } from '@innovateai/data-access'
import { AIRScore, Assessment, assessment, User } from '@innovateai/data-access/assessment'
import { type CacheChoice, cachedQuery, cachePolicy, dep, memoryCache } from '@innovateai/data-access/cache'
import { redisCache } from '@innovateai/data-access/cache/redis'
import { Redis } from 'ioredis'
import { LRUCache } from 'lru-cache'
import pg from 'pg'
import { measureReads, readTask, warmUpOf } from './measure.ts'

// Reads of a thousand users. Arguments: contestant, database, Redis, prefix, reads, concurrency.
const task = readTask()
const { contestant, databaseUrl, redisUrl, prefix, concurrency } = task
const many = 100

const activity = cachedQuery({
  name: 'activity',
  dependsOn: (p: { userId: string }) => [dep(AIRScore, { user: p.userId }), dep(Assessment, { user: p.userId })],
  run: async (em, p) => ({
    scores: await em.count(AIRScore, { user: p.userId }),
    assessments: await em.count(Assessment, { user: p.userId }),
  }),
})
/** Of 560 bytes, as a user is. */
const profile = cachedQuery({
  name: 'profile',
  dependsOn: (p: { userId: string }) => [dep(AIRScore, { user: p.userId })],
  run: async (em, p) => {
    const { id, email, name, occupationCode, educationLevel, yearsExperience } = await em.findOneOrFail(User, { id: p.userId })
    return { id, email, name, occupationCode, educationLevel, yearsExperience }
  },
})
const choices: Readonly<Record<string, CacheChoice>> = {
  redis: redisCache({ url: redisUrl, prefix, timeoutMs: 5000 }),
  tier: redisCache({ url: redisUrl, prefix, timeoutMs: 5000, tier: { ttl: 60_000 } }),
  memory: memoryCache({ singleProcess: true }),
}
const frozen = contestant.includes('frozen')
/** The module as it is, or with users whose results are frozen and shared. */
const module = frozen ? { ...assessment, caches: [cachePolicy(User, { ttl: 300_000, uniques: ['email'], frozen })] } : assessment
const data = await createDataAccess({
  modules: [module, { name: 'bench', caches: [activity, profile] }],
  database: { url: databaseUrl, pool: { max: Math.min(concurrency, 20) } },
  cache: choices[contestant.split(' ')[0] as string] ?? (choices.memory as CacheChoice),
})
await data.migrate()
const missing = contestant.endsWith('miss')
const users = missing ? Math.ceil(task.reads * 1.5) : 1000
const ids: string[] = []
for (let made = 0; made < users; made += 500) {
  await data.unitOfWork(async ({ em }) => {
    for (let n = made; n < Math.min(users, made + 500); n++) {
      const texts = { name: 'n'.repeat(240), occupationCode: '15-1252', educationLevel: 'e'.repeat(40), yearsExperience: 12 }
      ids.push(em.create(User, { email: `user-${n}@example.com`, ...texts }).id)
    }
  })
}
const redis = new Redis(redisUrl, { enableAutoPipelining: concurrency > 1 })
const pool = new pg.Pool({ connectionString: databaseUrl, max: Math.min(concurrency, 20) })
const lru = new LRUCache<string, object>({ max: 10_000 })
const texts = new LRUCache<string, string>({ max: 10_000 })
const key = (id: string) => `${prefix}raw:${id}`
if (!missing) {
  const rows = (await data.orm.em.fork().getDriver().find(User, {})) as unknown as { id: string }[]
  for (const row of rows) {
    lru.set(key(row.id), row)
    texts.set(key(row.id), JSON.stringify(row))
    await redis.set(key(row.id), JSON.stringify(row))
  }
}

let turn = 0
const next = () => ids[turn++ % ids.length] as string
const some = () => {
  turn += many
  const start = turn % (ids.length - many)
  return ids.slice(start, start + many)
}
let round: { keys: string[]; values: Promise<(string | null)[]> } | undefined
/** The GETs of one tick as one MGET. */
const coalesced = async (one: string) => {
  if (round === undefined) {
    const keys: string[] = []
    const values = new Promise<void>((resolve) => process.nextTick(resolve)).then(() => {
      round = undefined
      return redis.mget(keys)
    })
    round = { keys, values }
  }
  const place = round.keys.push(one) - 1
  return (await round.values)[place] as string
}
const get = async () => JSON.parse((await redis.get(key(next()))) as string)
const cached = () => data.cached(User).get(next())
const columns =
  'id, email, name, occupation_code as "occupationCode", education_level as "educationLevel", years_experience as "yearsExperience", created_at as "createdAt", updated_at as "updatedAt"'
const prepared = async (id: string) =>
  (await pool.query({ name: 'user', text: `select ${columns} from users where id = $1`, values: [id] })).rows[0]
const contestants: Readonly<Record<string, () => Promise<unknown>>> = {
  'raw get': get,
  'raw mget': async () => JSON.parse(await coalesced(key(next()))),
  'raw get, merge': async () => data.fork().merge(User, await get(), { convertCustomTypes: true }),
  'raw mget, merge': async () => data.fork().merge(User, JSON.parse(await coalesced(key(next()))), { convertCustomTypes: true }),
  'raw many': async () => (await redis.mget(some().map(key))).map((text) => JSON.parse(text as string)),
  'raw many, dates': async () =>
    (await redis.mget(some().map(key))).map((text) => {
      const row = JSON.parse(text as string)
      row.createdAt = new Date(row.createdAt)
      row.updatedAt = new Date(row.updatedAt)
      return row
    }),
  'naive miss': async () => {
    const id = next()
    if ((await redis.get(key(id))) !== null) throw new Error('a miss was a hit')
    const [row] = await data.orm.em.getDriver().find(User, { id })
    await redis.set(key(id), JSON.stringify(row), 'PX', 60_000)
    return row
  },
  'prepared miss': async () => {
    const id = next()
    if ((await redis.get(key(id))) !== null) throw new Error('a miss was a hit')
    const row = await prepared(id)
    await redis.set(key(id), JSON.stringify(row), 'PX', 60_000)
    return row
  },
  'pg prepared': () => prepared(next()),
  'pg many': async () =>
    (await pool.query({ name: 'users', text: `select ${columns} from users where id = any($1)`, values: [some()] })).rows,
  'mikro-orm many': () => data.fork().find(User, { id: some() }),
  'mikro-orm findOne': () => data.fork().findOne(User, { id: next() }),
  'mikro-orm result cache': () => data.fork().findOne(User, { id: next() }, { cache: 60_000 }),
  'lru shared': async () => lru.get(key(next())),
  'lru clone': async () => structuredClone(lru.get(key(next()))),
  'lru parse': async () => JSON.parse(texts.get(key(next())) as string),
  'redis get': cached,
  'redis managed': () => data.cached(User, { em: data.fork() }).get(next()),
  'redis profile': () => data.cached(profile).get({ userId: next() }),
  'redis query': () => data.cached(activity).get({ userId: next() }),
  'redis many': () => data.cached(User).getMany(some()),
  'redis miss': cached,
  'tier get': cached,
  'memory get': cached,
  'memory frozen': cached,
  'tier frozen': cached,
  'memory many': () => data.cached(User).getMany(some()),
}
await new Promise((resolve) => setTimeout(resolve, 500)) // the connections stand, and the bus beats
const read = contestants[contestant]
if (read === undefined) throw new Error(`there is no contestant ${contestant}`)
const warmUp = missing ? Math.floor(task.reads / 4) : warmUpOf(task.reads) / (contestant.includes('many') ? 10 : 1)
await measureReads(task, read, warmUp)
await data.close()
await pool.end()
redis.disconnect()
