import { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { assessment, User, userCache } from '../../src/assessment/index.ts'
import { redisCache } from '../../src/cache/redis/redis-cache.ts'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { openTestDatabase, type TestDatabase } from '../support/databases.ts'
import { MemoryLogger } from '../support/memory-logger.ts'
import { openTestRedis, type TestRedis } from '../support/redis.ts'

describe('a Redis user without a right to channels', () => {
  let database: TestDatabase
  let redis: TestRedis
  let admin: Redis
  let data: DataAccess
  const user = `user-${crypto.randomUUID()}`
  const logger = new MemoryLogger()
  beforeEach(async () => {
    database = await openTestDatabase('sqlite')
    redis = await openTestRedis()
    admin = new Redis(redis.url)
    await admin.call('ACL', 'SETUSER', user, 'on', '>secret', '+@all', `~${redis.prefix}*`, 'resetchannels')
    const url = new URL(redis.url)
    Object.assign(url, { username: user, password: 'secret' })
    data = await createDataAccess({
      ...{ modules: [assessment], database: { url: database.url }, logger },
      cache: redisCache({ url: url.href, prefix: redis.prefix, timeoutMs: 5000, tier: {} }),
    })
    await data.migrate()
  })
  afterEach(async () => {
    await data.close()
    await admin.call('ACL', 'DELUSER', user)
    admin.disconnect()
    await redis.close()
    await database.close()
  })

  test('is told what to give it, and reads go to the database until it has it', async () => {
    const nameOf = async (id: string) => (await data.cached(userCache).get(id))?.name
    const rename = (id: string, name: string) =>
      data.unitOfWork(async ({ em }) => {
        ;(await em.findOneOrFail(User, id)).name = name
      })
    const { id } = await data.unitOfWork(async ({ em }) => em.create(User, { email: 'alex@rights.dev', name: 'old' }))
    await nameOf(id)
    await rename(id, 'new')
    expect(await nameOf(id)).toBe('new')
    const remedy = `ACL SETUSER <user> ~${redis.prefix}* &${redis.prefix}*`
    const told = () => logger.warnings.filter((each) => JSON.stringify(each).includes(remedy))
    await expect.poll(() => told().length, { timeout: 10_000 }).toBe(2)
    expect(JSON.stringify(told())).toContain(`${redis.prefix}bus`)

    await admin.call('ACL', 'SETUSER', user, `&${redis.prefix}*`)
    const hits = async () => {
      await nameOf(id)
      return data.cached(userCache).stats().atHand
    }
    await expect.poll(hits, { timeout: 20_000 }).toBeGreaterThan(0)
    await rename(id, 'newest')
    expect(await nameOf(id)).toBe('newest')
    expect(told()).toHaveLength(2)
  })
})
