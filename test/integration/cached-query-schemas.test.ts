import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { cachedQuery, dep } from '../../src/cache/cached-query.ts'
import { runSql } from '../../src/database/sql.ts'
import { Author, authorPolicy } from '../support/cache-entities.ts'
import { type CacheGround, openCacheGround, storeNames } from '../support/cache-ground.ts'
import { MemoryLogger } from '../support/memory-logger.ts'

interface Place {
  readonly schema: string | undefined
}

const dependsOn = (_params: Place) => [dep(Author)]
const authors = cachedQuery({
  name: 'authorsOfSchema',
  dependsOn,
  run: async (em, { schema }) => ({ found: await em.find(Author, {}, schema === undefined ? {} : { schema }) }),
})
const names = cachedQuery({
  name: 'namesOfSchema',
  dependsOn,
  run: async (em, { schema }) => (await em.find(Author, {}, { schema: schema as string })).map(({ name }) => name),
})

describe.each(storeNames)('a query that reads in a schema of its parameters, with the %s store', (store) => {
  let ground: CacheGround
  const logger = new MemoryLogger()
  beforeAll(async () => {
    ground = await openCacheGround('postgresql', store, { caches: [authorPolicy, authors, names], logger })
    await ground.author({ name: 'of public' })
    for (const schema of ['one', 'two']) {
      await runSql(ground.fork(), `create schema ${schema}`)
      await runSql(ground.fork(), `create table ${schema}.authors (like authors including all)`)
      await runSql(ground.fork(), `insert into ${schema}.authors select * from authors`)
      await runSql(ground.fork(), `update ${schema}.authors set name = 'of ${schema}'`)
    }
  })
  afterAll(() => ground.close())

  test.each(['one', 'two'])('gives the rows of %s, which it does not keep, and says so', async (schema) => {
    for (let turn = 1; turn <= 3; turn++) {
      for (const options of [undefined, { em: ground.fork() }]) {
        const { found } = await ground.cache.cached(authors, options as never).get({ schema })
        expect(found).toMatchObject([{ name: `of ${schema}` }])
      }
    }
    expect(logger.warnings.map(({ message }) => message)).toEqual([
      expect.stringContaining('(Author of the schema one, whose rows are kept of its own schema alone, cannot be cached)'),
    ])
  })

  test('is cached where it gives plain data', async () => {
    for (const schema of ['one', 'two', 'one', 'two']) {
      expect(await ground.cache.cached(names).get({ schema })).toEqual([`of ${schema}`])
    }
    expect(ground.cache.cached(names).stats()).toMatchObject({ hits: 2, misses: 2 })
  })

  test.each([undefined, 'public'])('is cached where its schema, %s, is the entity’s own', async (schema) => {
    const { hits } = ground.cache.cached(authors).stats()
    for (let turn = 1; turn <= 2; turn++) {
      expect((await ground.cache.cached(authors).get({ schema })).found).toMatchObject([{ name: 'of public' }])
    }
    expect(ground.cache.cached(authors).stats().hits).toBe(hits + 1)
  })
})
