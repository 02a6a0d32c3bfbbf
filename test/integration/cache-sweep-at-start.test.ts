import { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { assessment, User, userCache } from '../../src/assessment/index.ts'
import { type RedisCacheOptions, redisCache } from '../../src/cache/redis/redis-cache.ts'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { silentLogger } from '../../src/kernel/logger.ts'
import { type CacheProcess, startCacheProcess } from '../support/cache-process.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../support/databases.ts'
import { openTestRedis, type TestRedis } from '../support/redis.ts'
import { openProxyTo } from '../support/tcp-proxy.ts'

const patience = { timeout: 20_000, interval: 5 }
/** So rarely that only the look at the start can have swept, and no process in time. */
const sweepMs = 60_000
const email = 'alex@innovateai.dev'

describe.each(dialects)('what nobody has expired before a process on %s starts', { timeout: 60_000 }, (dialect) => {
  let database: TestDatabase
  let redis: TestRedis
  let id: string
  let unchanged: string
  const opened: { close(): Promise<unknown> }[] = []
  const processes: CacheProcess[] = []

  const open = async (options: Pick<RedisCacheOptions, 'url' | 'client'> = { url: redis.url }) => {
    const cache = redisCache({ prefix: redis.prefix, timeoutMs: 5000, sweepMs, ...options })
    const data = await createDataAccess({ modules: [assessment], database: { url: database.url }, cache, logger: silentLogger })
    opened.push(data)
    return data
  }
  const start = async (redisUrl = redis.url) => {
    const child = await startCacheProcess({ url: database.url, redisUrl, prefix: redis.prefix })
    processes.push(child)
    return child
  }
  const namesOf = async (data: DataAccess) => {
    const users = data.cached(userCache)
    const [one, [another], third] = await Promise.all([users.get(id), users.getMany([id]), users.byEmail(email)])
    return [one?.name, another?.name, third?.name]
  }
  const hitsOf = async (data: DataAccess) => {
    await data.cached(User).get(id)
    return data.cached(User).stats().hits
  }

  // The old name is in Redis. A process whose Redis is stalled gives a new one, tells its caller so and is killed; then nothing runs.
  beforeEach(async () => {
    database = await openTestDatabase(dialect)
    redis = await openTestRedis()
    const before = await open()
    await before.migrate()
    id = (await before.unitOfWork(async ({ em }) => em.create(User, { email, name: 'old' }))).id
    expect(await namesOf(before)).toEqual(['old', 'old', 'old'])
    unchanged = (await before.unitOfWork(async ({ em }) => em.create(User, { email: 'b@innovateai.dev', name: 'kept' }))).id
    await before.cached(userCache).get(unchanged)
    await before.close()

    const proxy = await openProxyTo(redis.url)
    opened.push(proxy)
    const doomed = await start(proxy.url)
    expect(await doomed.tell({ verb: 'read', id })).toEqual({ name: 'old' })
    proxy.stall()
    expect(await doomed.tell({ verb: 'rename', id, name: 'new' })).toEqual({ done: 'rename' })
    await doomed.kill()
    const client = new Redis(redis.url)
    expect(await client.get(`${redis.prefix}User:${id}`)).toContain('old')
    client.disconnect()
  })
  afterEach(async () => {
    for (const child of processes.splice(0)) await child.kill()
    for (const each of opened.splice(0).reverse()) await each.close()
    await redis.close()
    await database.close()
  })

  test('is served by none of its reads, not the very first', async () => {
    const data = await open()
    expect(await namesOf(data)).toEqual(['new', 'new', 'new'])
    expect((await data.stats()).cache?.invalidations.swept).toBe(1)
    // What was not changed is a hit as before.
    const { hits } = data.cached(User).stats()
    await data.cached(User).get(unchanged)
    expect(data.cached(User).stats().hits).toBe(hits + 1)
  })

  test('is served by none of its reads, in a process of its own', async () => {
    expect(await (await start()).tell({ verb: 'read', id })).toEqual({ name: 'new' })
  })

  test('is served by none of its reads while Redis takes no writes; what was left is swept when it does', async () => {
    const client = new Redis(redis.url, { enableReadyCheck: false })
    opened.push({ close: async () => client.disconnect() })
    let readOnly = true
    const { sendCommand } = client
    client.sendCommand = (command, stream) => {
      if (!readOnly || command.name !== 'unlink') return sendCommand.call(client, command, stream)
      command.reject(Object.assign(new Error('READONLY You can not write against a read only replica.'), { name: 'ReplyError' }))
      return command.promise
    }
    const data = await open({ client })
    for (let read = 0; read < 5; read++) expect(await namesOf(data)).toEqual(['new', 'new', 'new'])
    expect(await hitsOf(data)).toBe(0)
    readOnly = false
    await expect.poll(() => hitsOf(data), patience).toBeGreaterThan(0)
    expect(await namesOf(data)).toEqual(['new', 'new', 'new'])
  })
})
