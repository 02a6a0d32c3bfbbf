import { inspect } from 'node:util'
import { raw } from '@mikro-orm/core'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { cachedQuery, dep } from '../../src/cache/cached-query.ts'
import { runSql } from '../../src/database/sql.ts'
import { Author, authorPolicy } from '../support/cache-entities.ts'
import { type CacheGround, cacheCombinations, openCacheGround } from '../support/cache-ground.ts'

interface Search {
  readonly any: readonly { readonly name?: string | undefined; readonly active?: boolean | undefined }[]
  readonly besides?: number
}

const named = cachedQuery({
  name: 'named',
  dependsOn: (params: { name: string }) => [dep(Author, { name: params.name })],
  run: async (em, { name }) => (await em.find(Author, { name })).map((author) => author.name),
})
const counted = cachedQuery({
  name: 'counted',
  dependsOn: (_params: Search) => [dep(Author)],
  run: async (em, { any }) => em.count(Author, { $or: any as never }),
})
const all = cachedQuery({ name: 'all', dependsOn: () => [dep(Author)], run: (em) => em.count(Author) })
const few = cachedQuery({
  name: 'few',
  dependsOn: (_params: { first?: number }) => [dep(Author)],
  run: async (em, { first = 1 }) => em.count(Author, { id: { $lt: first } as never }),
})
/** Tells what it was run with. */
const echo = cachedQuery({
  name: 'echo',
  dependsOn: (_params: object) => [dep(Author)],
  run: async (_em, params) => inspect(params),
})

describe.each(cacheCombinations)('parameters of cached queries on $dialect with the $store store', ({ dialect, store }) => {
  let ground: CacheGround
  beforeEach(async () => {
    ground = await openCacheGround(dialect, store, { caches: [authorPolicy, named, counted, echo, all] })
    for (const name of ['ann', 'bob']) await ground.author({ name })
  })
  afterEach(() => ground.close())

  test('that their caller changes after the call change nothing of its result, nor of what is kept', async () => {
    const reads = ground.cache.cached(named)
    for (const options of [undefined, { fresh: true }]) {
      const params = { name: 'ann' }
      const ann = reads.get(params, options)
      params.name = 'bob'
      const bob = reads.get(params, options)
      params.name = 'nobody'
      expect([await ann, await bob]).toEqual([['ann'], ['bob']])
    }
    for (const name of ['ann', 'bob']) expect(await reads.get({ name })).toEqual([name])
  })

  test('that are equal lead to one result, in whatever order their names stand', async () => {
    const reads = ground.cache.cached(counted)
    expect(await reads.get({ any: [{ name: 'ann' }], besides: 1 })).toBe(1)
    expect(await reads.get({ besides: 1, any: [{ name: 'ann' }] })).toBe(1)
    expect(reads.stats()).toMatchObject({ hits: 1, misses: 1 })
    await runSql(ground.fork(), "delete from authors where name = 'ann'")
    await reads.invalidate({ besides: 1, any: [{ name: 'ann' }] })
    expect(await reads.get({ any: [{ name: 'ann' }], besides: 1 })).toBe(0)
  })

  test('come to the query as they were given: with the order of names inside them, and with what is undefined', async () => {
    const reads = ground.cache.cached(echo)
    const given = [
      { order: { name: 'asc', active: 'asc' } },
      { order: { active: 'asc', name: 'asc' } },
      { where: { name: undefined } },
      { where: {} },
      { list: [{ b: 1, a: undefined }] },
    ]
    for (const params of given) {
      for (const _ of ['read', 'kept']) expect(await reads.get(params)).toBe(inspect(params))
      await ground.orm.em.fork().transactional(async (em) => {
        expect(await ground.cache.cached(echo, { em }).get(params)).toBe(inspect(params))
      })
    }
  })

  test('with a symbol as a name, as raw() makes one, are refused: it would be lost', async () => {
    for (const params of [{ [raw('lower(name)')]: 'a' }, { where: { [raw('lower(name)')]: 'a' } }]) {
      await expect(ground.cache.cached(echo).get(params)).rejects.toMatchObject({ code: 'OPTION_INVALID' })
    }
  })

  test('may be left out where there are none', async () => {
    const reads = ground.cache.cached(all)
    const [hits, misses] = [() => reads.stats().hits, () => reads.stats().misses]
    expect([await reads.get(), await reads.get({}), await reads.get({}, {})]).toEqual([2, 2, 2])
    expect([hits(), misses()]).toEqual([2, 1])
    await reads.invalidate()
    expect(await reads.get()).toBe(2)
    expect(misses()).toBe(2)
    // What the compiler says of those that must be given.
    if (Date.now() < 0) {
      // @ts-expect-error
      await ground.cache.cached(named).get()
      // @ts-expect-error
      await ground.cache.cached(named).invalidate()
      await ground.cache.cached(few).get()
      await ground.cache.cached(few).get({ first: 2 })
      // @ts-expect-error
      await ground.cache.cached(few).get(undefined, { fresh: true })
    }
  })

  test('that hold themselves are refused', async () => {
    const any: object[] = []
    any.push({ any })
    await expect(ground.cache.cached(counted).get({ any })).rejects.toMatchObject({ code: 'OPTION_INVALID' })
  })
})
