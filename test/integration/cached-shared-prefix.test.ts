import { randomUUID } from 'node:crypto'
import { afterEach, describe, expect, inject, test } from 'vitest'
import { redisCache } from '../../src/cache/redis/redis-cache.ts'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { Author, authorPolicy, Book } from '../support/cache-entities.ts'
import { dialects, openTestDatabase } from '../support/databases.ts'
import { MemoryLogger } from '../support/memory-logger.ts'

const authors = { name: 'authors', entities: [Author, Book], caches: [authorPolicy] }

// Staging and production on one Redis, with one prefix: the ids may be the same, and the rows are not.
describe.each(dialects)('databases on %s that share a Redis and a prefix', (dialect) => {
  const open: (() => Promise<unknown>)[] = []
  afterEach(async () => {
    for (const close of open.splice(0).reverse()) await close()
  })
  const openAccess = async (url: string, prefix: string) => {
    const logger = new MemoryLogger()
    const cache = redisCache({ url: inject('redisUrl'), prefix, timeoutMs: 5000, tier: { ttl: 60_000 } })
    const data = await createDataAccess({ modules: [authors], database: { url }, cache, logger })
    open.push(() => data.close())
    return { data, logger }
  }
  const openDatabase = async (prefix: string, url?: string) => {
    const database = url === undefined ? await openTestDatabase(dialect) : { url, close: async () => {} }
    open.push(() => database.close())
    const opened = await openAccess(database.url, prefix)
    await opened.data.migrate()
    await opened.data.orm.schema.update()
    return { ...opened, url: database.url }
  }
  const add = (data: DataAccess, id: string, name: string) =>
    data.unitOfWork(async ({ em }) => void em.create(Author, { id, email: `${id}@example.com`, name }))
  const nameOf = async (data: DataAccess, id: string) => (await data.cached(Author).get(id))?.name

  test('never get each other’s rows, and are told', async () => {
    const prefix = `test-${randomUUID()}:`
    const [one, other] = [await openDatabase(prefix), await openDatabase(prefix)]
    const [id, alone] = [randomUUID(), randomUUID()]
    await add(one.data, id, 'of one')
    await add(other.data, id, 'of the other')
    await add(one.data, alone, 'of one')
    for (let round = 0; round < 3; round++) {
      expect(await nameOf(one.data, id)).toBe('of one')
      expect(await nameOf(other.data, id)).toBe('of the other')
      expect(await nameOf(other.data, alone)).toBeUndefined()
      expect(await nameOf(one.data, alone)).toBe('of one')
    }
    const told = other.logger.warnings.filter((warning) =>
      JSON.stringify(warning).includes('Another database, or another role of this one, is cached'),
    )
    expect(told).toHaveLength(1)
  })

  test('accesses to the same one share what they cache', async () => {
    const prefix = `test-${randomUUID()}:`
    const one = await openDatabase(prefix)
    const other = await openAccess(one.url, prefix)
    const shares = async () => {
      const id = randomUUID()
      await add(one.data, id, 'shared')
      const before = one.data.cached(Author).stats().hits
      // A miss does not wait for its fill.
      await expect.poll(async () => (await nameOf(one.data, id)) && one.data.cached(Author).stats().hits).toBeGreaterThan(before)
      const { loads } = other.data.cached(Author).stats()
      expect(await nameOf(other.data, id)).toBe('shared')
      return other.data.cached(Author).stats().loads === loads
    }
    // Not while its first sweep is under way, or while Redis is slow.
    await expect.poll(shares).toBe(true)
    expect(JSON.stringify([...one.logger.warnings, ...other.logger.warnings])).not.toContain('Another database')
  })

  if (dialect === 'sqlite') {
    test('each one in memory is one of its own', async () => {
      const prefix = `test-${randomUUID()}:`
      const [one, other] = [await openDatabase(prefix, 'sqlite::memory:'), await openDatabase(prefix, 'sqlite::memory:')]
      const id = randomUUID()
      await add(one.data, id, 'of one')
      expect(await nameOf(one.data, id)).toBe('of one')
      expect(await nameOf(other.data, id)).toBeUndefined()
    })
  }
})
