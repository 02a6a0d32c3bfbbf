import { createDataAccess, type DataAccess, DataAccessError, type PoolOptions } from '@innovateai/data-access'
import { AIRScore, assessment, User } from '@innovateai/data-access/assessment'
import { memoryCache } from '@innovateai/data-access/cache'
import { redisCache } from '@innovateai/data-access/cache/redis'
import { DomainEvent } from '@innovateai/data-access/outbox'

const databaseUrl = process.env.DATABASE_URL || undefined
const redisUrl = process.env.REDIS_URL || undefined
/** Everything of the examples on PostgreSQL is in this schema, and in Redis under this prefix: what else is there is left alone. */
const examplesSchema = 'data_access_examples'
export const examplesPrefix = 'data-access-examples'
let announced = false

/** The wiring of every chapter: embedded on its own; `DATABASE_URL` and `REDIS_URL` put the same chapter on servers. */
export async function connect(pool: PoolOptions = {}): Promise<DataAccess> {
  if (databaseUrl && !/^postgres(ql)?:/.test(databaseUrl)) {
    stop('DATABASE_URL is no URL of PostgreSQL, and the examples leave your files alone: give postgres://…, or unset it')
  }
  try {
    const data = await createDataAccess({
      modules: [assessment],
      database: databaseUrl
        ? { url: databaseUrl, pool, driverOptions: { options: `-c search_path=${examplesSchema}` } }
        : { url: ':memory:', pool },
      // A service keeps the default of 50 ms; an example on a busy machine would rather wait than read past the cache.
      cache: redisUrl
        ? redisCache({ url: redisUrl, prefix: `${examplesPrefix}:`, timeoutMs: 2000 })
        : memoryCache({ singleProcess: true }),
    })
    if (databaseUrl) await data.fork().getConnection().execute(`create schema if not exists ${examplesSchema}`)
    const { cache } = await data.health()
    if (cache?.ok === false) stop(cache.error ?? 'The cache does not answer')
    if (!announced) console.log(whereItRuns(data))
    announced = true
    return data
  } catch (error) {
    if (error instanceof DataAccessError) stop(error.message)
    throw error
  }
}

/** Removes what an earlier run of a chapter left, and its own rows at its end: users by the end of their email. */
export async function removeUsers(data: DataAccess, emailEnd: string): Promise<void> {
  await data.unitOfWork(async ({ em }) => {
    const users = await em.find(User, { email: { $like: `%${emailEnd}` } })
    const scores = await em.find(AIRScore, { user: { $in: users } }, { fields: ['id'] })
    await em.nativeDelete(DomainEvent, { aggregateId: { $in: scores.map(({ id }) => id) } })
    for (const user of users) em.remove(user)
  })
}

/** Ends the example with one clear line. */
export function stop(why: string): never {
  console.error(why)
  process.exit(1)
}

function whereItRuns({ dialect }: DataAccess): string {
  const database =
    dialect === 'postgresql' ? `PostgreSQL at ${withoutUser(databaseUrl)} (schema ${examplesSchema})` : 'SQLite in memory'
  const cache = redisUrl ? `Redis at ${withoutUser(redisUrl)}` : 'a cache in this process'
  const missing = [...(databaseUrl ? [] : ['DATABASE_URL']), ...(redisUrl ? [] : ['REDIS_URL'])]
  const hint = missing.length === 0 ? '' : ` (set ${missing.join(' and ')} to use servers)`
  return `Running on ${database} and ${cache}${hint}`
}

function withoutUser(url = ''): string {
  const { protocol, host, pathname } = new URL(url)
  return `${protocol}//${host}${pathname}`
}
