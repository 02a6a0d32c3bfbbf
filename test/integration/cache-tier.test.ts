import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest'
import { assessment } from '../../src/assessment/assessment-module.ts'
import { User, userCache } from '../../src/assessment/index.ts'
import { InvalidationBus } from '../../src/cache/redis/invalidation-bus.ts'
import { NearEntries } from '../../src/cache/redis/near-entries.ts'
import { redisCache } from '../../src/cache/redis/redis-cache.ts'
import { RedisStore } from '../../src/cache/redis/redis-store.ts'
import { TieredStore } from '../../src/cache/redis/tiered-store.ts'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { runSql } from '../../src/database/sql.ts'
import { hasErrorCode } from '../../src/errors.ts'
import { monotonicClock } from '../../src/kernel/clock.ts'
import { silentLogger } from '../../src/kernel/logger.ts'
import { RedisConnection } from '../../src/redis/redis-connection.ts'
import { filled, hit, look, request } from '../../src/testing/cache-store-steps.ts'
import { type CacheProcess, startCacheProcess } from '../support/cache-process.ts'
import { openTestDatabase, type TestDatabase } from '../support/databases.ts'
import { openTestRedis, type TestRedis } from '../support/redis.ts'
import { openProxy, type TcpProxy } from '../support/tcp-proxy.ts'

const ttl = 60_000
const inTime = { timeout: 20_000, interval: 5 }

describe('copies in this process of what is in Redis', () => {
  let database: TestDatabase
  let redis: TestRedis
  let proxy: TcpProxy
  let other: CacheProcess
  let spy: Redis
  const opened: DataAccess[] = []
  beforeAll(async () => {
    database = await openTestDatabase('postgresql')
    redis = await openTestRedis()
    proxy = await openProxy(Number(new URL(inject('redisUrl')).port))
    spy = new Redis(redis.url)
    await (await open()).migrate()
    other = await startCacheProcess({ url: database.url, redisUrl: redis.url, prefix: redis.prefix })
  })
  afterEach(async () => {
    for (const data of opened.splice(0)) await data.close()
  })
  afterAll(async () => {
    await other.tell({ verb: 'close', id: '' })
    spy.disconnect()
    await proxy.close()
    await redis.close()
    await database.close()
  })

  async function open(options: { readonly url?: string; readonly ttl?: number } = {}): Promise<DataAccess> {
    const cache = redisCache({
      url: options.url ?? redis.url,
      prefix: redis.prefix,
      timeoutMs: 5000,
      tier: { ttl: options.ttl ?? ttl },
    })
    const data = await createDataAccess({ modules: [assessment], database: { url: database.url }, cache, logger: silentLogger })
    opened.push(data)
    return data
  }
  const viaProxy = () => {
    const url = new URL(redis.url)
    url.port = String(proxy.port)
    return url.href
  }
  const addUser = async (data: DataAccess) =>
    data.unitOfWork(async ({ em }) => em.create(User, { email: `${crypto.randomUUID()}@tier.dev`, name: 'old' }).id)
  const nameOf = async (data: DataAccess, id: string) => (await data.cached(userCache).get(id))?.name
  /** Whether a read is answered without asking Redis for the entry. */
  const isNear = async (data: DataAccess, id: string) => {
    const { atHand } = data.cached(userCache).stats()
    await nameOf(data, id)
    return data.cached(userCache).stats().atHand > atHand
  }
  /** Reads until a copy is kept, which takes until the bus is heard. */
  const copied = async (data: DataAccess, id: string) => {
    await expect.poll(() => isNear(data, id), inTime).toBe(true)
  }

  test('are served without asking Redis, each reader its own', async () => {
    const data = await open()
    const id = await addUser(data)
    await copied(data, id)
    const [one, two] = await Promise.all([data.cached(userCache).getOrFail(id), data.cached(userCache).getOrFail(id)])
    one.name = 'spoiled'
    expect(two.name).toBe('old')
    expect(await nameOf(data, id)).toBe('old')
  })

  test('of rows that are not there end with the insert', async () => {
    const data = await open()
    const id = (await import('uuid')).v7()
    await copied(data, id)
    await data.unitOfWork(async ({ em }) => void em.create(User, { id, email: `${id}@tier.dev`, name: 'new' }))
    expect(await nameOf(data, id)).toBe('new')
  })

  test('end at once with a commit of this process', async () => {
    const data = await open()
    const id = await addUser(data)
    for (let version = 0; version < 30; version++) {
      await copied(data, id)
      await data.unitOfWork(async ({ em }) => {
        ;(await em.findOneOrFail(User, id)).name = `version ${version}`
      })
      expect(await nameOf(data, id)).toBe(`version ${version}`)
    }
  })

  test('end with a fresh read, which is kept for the reads that follow', async () => {
    const [one, two] = [await open(), await open()]
    const id = await addUser(one)
    // As another program would: past every invalidation.
    const rename = (name: string) => runSql(one.fork(), 'update users set name = ? where id = ?', [name, id])
    const freshName = async (data: DataAccess) => (await data.cached(userCache).get(id, { fresh: true }))?.name
    await copied(one, id)
    await copied(two, id)
    await rename('second')
    expect([await freshName(two), await nameOf(two, id)]).toEqual(['second', 'second'])
    await rename('third')
    expect([await freshName(one), await nameOf(one, id)]).toEqual(['third', 'third'])
  })

  test('end when somebody says on the bus what nobody understands', async () => {
    const data = await open()
    const id = await addUser(data)
    for (const text of ['{"from":"other"}', '{', '17', 'null']) {
      await copied(data, id)
      await spy.publish(`${redis.prefix}bus`, text)
      await expect.poll(() => isNear(data, id), { ...inTime, interval: 5 }).toBe(false)
    }
  })

  test('end as the message of another process comes', async () => {
    const data = await open()
    const id = await addUser(data)
    for (const name of ['one', 'two', 'three']) {
      await copied(data, id)
      await other.tell({ verb: 'rename', id, name })
      // Far sooner than the ttl of the copies, which is a minute here.
      await expect.poll(() => nameOf(data, id), inTime).toBe(name)
    }
  })

  test.each(['this process', 'another process'])(
    'that were on their way from Redis as %s committed are not kept',
    async (where) => {
      const connect = () => new RedisConnection({ url: redis.url, timeoutMs: 5000 }, { logger: silentLogger })
      const [here, there] = [connect(), connect()]
      const far = new RedisStore({ redis: here, prefix: redis.prefix, self: 'here' })
      const foreign = new RedisStore({ redis: there, prefix: redis.prefix, self: 'there' })
      const near = new NearEntries({ maxEntries: 100, maxBytes: 1_000_000 })
      let expired = 0
      const onExpired = (keys: readonly string[]) => {
        near.expire(keys)
        expired += 1
      }
      const bus = new InvalidationBus({
        ...{ options: { url: redis.url }, redis: here, prefix: redis.prefix, self: 'here' },
        ...{ onExpired, onGap: () => near.clear(), clock: monotonicClock, logger: silentLogger },
      })
      const store = new TieredStore({ far, near, bus, ttlMs: ttl, clock: monotonicClock })
      await expect.poll(() => bus.sound(), inTime).toBe(true)
      const entry = request(1)
      await filled(store, entry, 'old')

      const { readWithLife } = far
      const gate = Promise.withResolvers<void>()
      const answered = Promise.withResolvers<void>()
      far.readWithLife = async (requests) => {
        const found = await readWithLife.call(far, requests)
        answered.resolve()
        await gate.promise
        return found
      }
      const slow = look(store, entry)
      await answered.promise
      if (where === 'this process') await store.invalidate([entry.key])
      else {
        await foreign.invalidate([entry.key])
        await expect.poll(() => expired, inTime).toBe(1)
      }
      gate.resolve()
      expect(await slow).toEqual(hit('old')) // it began before the commit
      far.readWithLife = readWithLife
      expect(store.readNow(entry)).toBeUndefined()
      expect((await look(store, entry)).state).toBe('absent')

      // A copy that is taken while the invalidation has not reached Redis goes with its acknowledgement.
      await filled(store, entry, 'older')
      const { invalidate } = far
      const sent = Promise.withResolvers<void>()
      far.invalidate = async (keys) => {
        await sent.promise
        await invalidate.call(far, keys)
      }
      const done = store.invalidate([entry.key])
      expect(await look(store, entry)).toEqual(hit('older'))
      sent.resolve()
      await done
      expect(store.readNow(entry)).toBeUndefined()
      await store.close()
      await foreign.close()
    },
  )

  test('live no longer than their entries, whose life is asked after the value and in the same round trip', async () => {
    const data = await open()
    const id = await addUser(data)
    await copied(data, id)
    await nameOf(data, id)
    const key = `${redis.prefix}User:${id}`
    const asked: string[] = []
    const monitor = await spy.monitor()
    monitor.on('monitor', (_time: string, [command = '', ...args]: string[]) => {
      if (args.includes(key)) asked.push(command.toLowerCase())
    })
    const beats = new Redis(redis.url)
    await beats.pexpire(key, 700)
    await beats.publish(`${redis.prefix}bus`, JSON.stringify({ from: 'other', keys: [`User:${id}`] }))
    const askedFirst = async () => {
      await nameOf(data, id)
      return asked.slice(0, 3)
    }
    await expect.poll(askedFirst, inTime).toEqual(['pexpire', 'mget', 'pttl'])
    // Long before the minute that copies live at most here.
    await expect.poll(() => isNear(data, id), inTime).toBe(false)
    monitor.disconnect()
    beats.disconnect()
  })

  test('end after their ttl when messages are lost', async () => {
    const data = await open({ ttl: 300 })
    const id = await addUser(data)
    await copied(data, id)
    // As if another process had expired it and its message had been lost.
    await runSql(data.fork(), "update users set name = 'new' where id = ?", [id])
    await spy.unlink(`${redis.prefix}User:${id}`)
    await expect.poll(() => nameOf(data, id), inTime).toBe('new')
  })

  test('are not served while the bus is silent, and are gone when it is back', async () => {
    const data = await open({ url: viaProxy() })
    const id = await addUser(data)
    await copied(data, id)
    await proxy.refuse()
    await other.tell({ verb: 'rename', id, name: 'missed' })
    // The database answers: Redis cannot be asked, and the copy cannot be trusted.
    await expect.poll(() => nameOf(data, id), inTime).toBe('missed')
    await proxy.accept()
    await copied(data, id)
    expect(await nameOf(data, id)).toBe('missed')
  })

  test('are not served after a silence of the bus that no connection tells of', async () => {
    const data = await open({ url: viaProxy() })
    const id = await addUser(data)
    await copied(data, id)
    proxy.stall()
    await other.tell({ verb: 'rename', id, name: 'unheard' })
    await expect.poll(() => nameOf(data, id), inTime).toBe('unheard')
    proxy.resume()
    await copied(data, id)
    expect(await nameOf(data, id)).toBe('unheard')
  })

  test('are refused with bounds that make no sense', () => {
    for (const tier of [{ ttl: 0 }, { maxEntries: 0 }, { maxBytes: 10 }, { size: 1 }]) {
      const refused = () => redisCache({ url: redis.url, tier: tier as never })
      expect(refused).toThrow(expect.toSatisfy((error: unknown) => hasErrorCode(error, 'OPTION_INVALID')))
    }
  })
})
