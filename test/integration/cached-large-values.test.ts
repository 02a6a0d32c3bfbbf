import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest'
import { cachedQuery, dep } from '../../src/cache/cached-query.ts'
import { cachePolicy } from '../../src/cache/policy.ts'
import { type RedisCacheOptions, redisCache } from '../../src/cache/redis/redis-cache.ts'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { Author, Book } from '../support/cache-entities.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../support/databases.ts'
import { MemoryLogger } from '../support/memory-logger.ts'

const patience = { timeout: 20_000 }
const maxBytes = 10_000
const long = 'x'.repeat(maxBytes)
const authorCache = cachePolicy(Author, { ttl: 60_000 })
let length = maxBytes
const texts = cachedQuery({
  name: 'texts',
  dependsOn: (_: { secret: string }) => [dep(Author)],
  run: async () => ({ text: 'x'.repeat(length) }),
})
const fading = cachedQuery({
  name: 'fading',
  ttl: 1,
  serveStale: 60_000,
  jitter: 0,
  dependsOn: () => [dep(Author)],
  run: async () => ({ text: 'x'.repeat(length) }),
})
const authors = { name: 'authors', entities: [Author, Book], caches: [authorCache, texts, fading] }

describe.each(dialects)('values on %s that are too large for Redis', (dialect) => {
  let database: TestDatabase
  let client: Redis
  let logger: MemoryLogger
  let data: DataAccess
  let prefix: string
  beforeEach(async () => {
    length = maxBytes
    prefix = `test-${randomUUID()}:`
    database = await openTestDatabase(dialect)
    client = new Redis(inject('redisUrl'))
  })
  afterEach(async () => {
    await data.close()
    client.disconnect()
    await database.close()
  })
  const open = async (options: Partial<RedisCacheOptions> = { maxBytes }) => {
    logger = new MemoryLogger()
    const cache = redisCache({ url: inject('redisUrl'), prefix, timeoutMs: 5000, ...options } as RedisCacheOptions)
    data = await createDataAccess({ modules: [authors], database: { url: database.url }, cache, logger })
    await data.migrate()
    await data.orm.schema.update()
  }
  const add = (name: string, theme: string) =>
    data.unitOfWork(async ({ em }) => {
      const settings = { theme, tags: [] }
      return em.create(Author, { email: `${randomUUID()}@example.dev`, name, settings } as never) as Author
    })
  const warnings = () => logger.warnings.map(({ message }) => message).filter((message) => message.includes('maxBytes'))
  const heldKeys = async () => (await client.keys(`${prefix}*`)).map((key) => key.slice(prefix.length))

  test('are handed out and not kept, with one warning that tells of whom and not of whose', async () => {
    await open()
    const read = data.cached(texts)
    const refused: number[] = []
    read.on('fillRefused', ({ entries }) => void refused.push(entries))
    for (let turn = 1; turn <= 3; turn++) {
      expect((await read.get({ secret: 'of somebody' })).text).toHaveLength(length)
      await expect.poll(() => refused.length, patience).toBe(turn)
    }
    expect(read.stats()).toMatchObject({ hits: 0, loads: 3, refusedFills: 3, errors: 0 })
    expect((await heldKeys()).filter((key) => key.startsWith('?texts'))).toEqual([])
    expect(warnings()).toEqual([
      expect.stringMatching(
        /^A result of the cached query texts takes 10\d\d\d bytes in Redis, more than 10000, so it is not kept/,
      ),
    ])
    expect(warnings().join()).not.toContain('somebody')
    length = 100
    await read.get({ secret: 'of somebody' })
    await expect
      .poll(async () => {
        await read.get({ secret: 'of somebody' })
        return read.stats().hits
      }, patience)
      .toBeGreaterThan(0)
  })

  test('leave the rows that are read with them in the cache', async () => {
    await open()
    const [small, large] = [await add('small', 'dark'), await add('large', long)]
    const cached = data.cached(Author)
    expect((await cached.getMany([small.id, large.id])).map((author) => author?.name)).toEqual(['small', 'large'])
    await expect.poll(heldKeys, patience).toContain(`Author:${small.id}`)
    await expect.poll(() => cached.stats().refusedFills, patience).toBe(1)
    expect(await heldKeys()).not.toContain(`Author:${large.id}`)
    expect((await cached.getOrFail(large.id)).settings?.theme).toBe(long)
    expect(warnings()).toEqual([expect.stringMatching(/^A cached row of Author takes/)])
  })

  test('end the stale entry that they were to replace', async () => {
    length = 100
    await open()
    const read = data.cached(fading)
    await read.get({})
    await expect.poll(async () => (await heldKeys()).some((key) => /^\?fading:.*[^$]$/.test(key)), patience).toBe(true)
    length = maxBytes
    await expect.poll(async () => (await read.get({})).text.length, patience).toBe(maxBytes)
    expect(warnings()).toHaveLength(1)
  })

  test('are those above a million bytes, where nothing else is said', async () => {
    await open({})
    length = 990_000
    await data.cached(texts).get({ secret: 'a' })
    await expect.poll(async () => (await heldKeys()).some((key) => key.startsWith('?texts')), patience).toBe(true)
    expect(warnings()).toEqual([])
    length = 1_000_000
    await data.cached(texts).get({ secret: 'b' })
    await expect.poll(warnings, patience).toHaveLength(1)
  })
})

test.each([{ maxBytes: 1000 }, { maxBytes: 5000.5 }])('a bound of $maxBytes bytes is refused', ({ maxBytes }) => {
  expect(() => redisCache({ url: 'redis://localhost', maxBytes })).toThrow('give a whole number from 1024')
})
