import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { assessment, User } from '../../src/assessment/index.ts'
import { cachePolicy } from '../../src/cache/policy.ts'
import { type RedisCacheOptions, redisCache } from '../../src/cache/redis/redis-cache.ts'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { silentLogger } from '../../src/kernel/logger.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../support/databases.ts'
import { openTestRedis, type TestRedis } from '../support/redis.ts'

const probing = { ...assessment, caches: [cachePolicy(User, { probe: 1 })] }
const patience = { timeout: 20_000, interval: 20 }
const oftenMs = 200
const refusal = 'MISCONF Redis is configured to save RDB snapshots, but is currently unable to persist to disk.'

describe.each(dialects)('a Redis that answers reads and refuses writes, on %s', { timeout: 60_000 }, (dialect) => {
  let database: TestDatabase
  let redis: TestRedis
  let refuses: boolean
  const opened: { close(): Promise<unknown> }[] = []

  const clientThatMayRefuse = () => {
    const client = new Redis(redis.url, { enableReadyCheck: false })
    opened.push({ close: async () => client.disconnect() })
    const { sendCommand } = client
    client.sendCommand = (command, stream) => {
      if (!refuses || command.name !== 'unlink') return sendCommand.call(client, command, stream)
      command.reject(Object.assign(new Error(refusal), { name: 'ReplyError' }))
      return command.promise
    }
    return client
  }
  const open = async (tier?: RedisCacheOptions['tier'], sweepMs = oftenMs) => {
    const cache = redisCache({ client: clientThatMayRefuse(), prefix: redis.prefix, timeoutMs: 5000, sweepMs, tier })
    const data = await createDataAccess({ modules: [probing], database: { url: database.url }, cache, logger: silentLogger })
    opened.push(data)
    return data
  }
  beforeEach(async () => {
    refuses = false
    database = await openTestDatabase(dialect)
    redis = await openTestRedis()
  })
  afterEach(async () => {
    for (const each of opened.splice(0).reverse()) await each.close()
    await redis.close()
    await database.close()
  })

  test.each([undefined, {}])(
    'leaves no other process with what it did not expire: they read from the database until it does (tier: %o)',
    async (tier) => {
      const [here, other] = [await open(), await open(tier)]
      await here.migrate()
      const { id } = await here.unitOfWork(async ({ em }) => em.create(User, { email: 'alex@innovateai.dev', name: 'old' }))
      const nameOf = async (data: DataAccess) => (await data.cached(User).get(id))?.name
      const hitsOf = async () => {
        await nameOf(other)
        return other.cached(User).stats().hits
      }
      const isHit = async () => {
        const hits = await hitsOf()
        await expect.poll(hitsOf, patience).toBeGreaterThan(hits)
      }
      await isHit()
      expect(await nameOf(other)).toBe('old')

      refuses = true
      await here.unitOfWork(async ({ em }) => {
        ;(await em.findOneOrFail(User, id)).name = 'new'
      })
      // Within the interval, with generous slack for slow machines.
      await expect.poll(() => nameOf(other), { timeout: 20 * oftenMs, interval: 20 }).toBe('new')
      for (let read = 0; read < 5; read++) expect(await nameOf(other)).toBe('new')

      refuses = false
      await isHit()
      expect(await nameOf(other)).toBe('new')
    },
  )

  test('makes no probe take what it has not expired yet for an entry that outlived a change', async () => {
    const sweepMs = 2000
    const [here, other] = [await open(undefined, sweepMs), await open(undefined, sweepMs)]
    await here.migrate()
    const { id } = await here.unitOfWork(async ({ em }) => em.create(User, { email: 'alex@innovateai.dev', name: 'old' }))
    const users = other.cached(User)
    await expect.poll(() => users.get(id).then(() => users.stats().probed), patience).toBeGreaterThan(0)

    refuses = true
    await here.unitOfWork(async ({ em }) => {
      ;(await em.findOneOrFail(User, id)).name = 'new'
    })
    // Within the interval it may still be served, and differs from what the probe reads.
    expect((await users.get(id))?.name).toBe('old')
    await delay(2 * sweepMs + 500) // the verdict is due
    expect(users.stats().inconsistent).toBe(0)
  })
})
