import type { EntityManager } from '@mikro-orm/core'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { cachedQuery, dep } from '../../src/cache/cached-query.ts'
import { Author, authorPolicy, Book, bookPolicy } from '../support/cache-entities.ts'
import { type CacheGround, cacheCombinations, openCacheGround } from '../support/cache-ground.ts'
import { MemoryLogger } from '../support/memory-logger.ts'

class Money {
  readonly cents: number
  constructor(cents: number) {
    this.cents = cents
  }
}

let runs = 0
const run = async <Result>(read: () => Promise<Result>): Promise<Result> => {
  runs++
  return read()
}
const dependsOn = () => [dep(Book), dep(Author)]
const books = (em: EntityManager) => em.find(Book, {}, { orderBy: { edition: 'asc' } })

/** What a page of `DataRepository` is: entities in the middle of plain data. */
const page = cachedQuery({
  name: 'page',
  dependsOn,
  run: (em) => run(async () => ({ items: await books(em), nextCursor: 'next', at: new Date(7) })),
})
/** Several classes, and lists of both. */
const shelf = cachedQuery({
  name: 'shelf',
  dependsOn,
  run: (em) =>
    run(async () => {
      const [author] = await em.find(Author, {})
      const [first, ...others] = await books(em)
      return { author, best: { book: first ?? null }, rest: [{ others }], mixed: [author, first], none: [], ['__proto__']: first }
    }),
})
const priced = cachedQuery({ name: 'priced', dependsOn, run: () => run(async () => ({ prices: [new Money(5)] })) })
const mapped = cachedQuery({
  name: 'mapped',
  dependsOn,
  run: (em) => run(async () => new Map((await books(em)).map((book) => [book.id, book]))),
})

/** What tells callers apart stands in the parameters, and no filter in the way. */
const titled = cachedQuery({
  name: 'titled',
  dependsOn: (params: { title: string }) => [dep(Book, { title: params.title })],
  run: (em, { title }) => run(() => em.find(Book, { title }, { filters: false })),
  filters: false,
})
/** What a query without an answer gives. */
const nones = [undefined, null, []].map((none, place) =>
  cachedQuery({ name: `none ${place}`, dependsOn, run: () => run(async () => none) }),
)
const counted = cachedQuery({
  name: 'counted',
  dependsOn,
  run: (em) =>
    run(async () => ({
      found: (await books(em)).length,
      by: await em.count(Book, {}, { cache: 60_000 }),
      inside: await em.transactional((inside) => inside.count(Book, {}, { cache: 60_000 })),
    })),
})

describe.each(cacheCombinations)('results of cached queries on $dialect with the $store store', ({ dialect, store }) => {
  let ground: CacheGround
  let logger: MemoryLogger
  let author: Author

  beforeEach(async () => {
    logger = new MemoryLogger()
    const caches = [authorPolicy, bookPolicy, page, shelf, priced, mapped, titled, counted, ...nones] as never
    ground = await openCacheGround(dialect, store, { caches, logger })
    author = await ground.author()
    for (const edition of [1, 2, 3]) await ground.book(author, edition)
    runs = 0
  })
  afterEach(() => ground.close())

  test('may hold entities in the middle of plain data, whose rows live once', async () => {
    const read = () => ground.cache.cached(page).get(undefined as never)
    const first = await read()
    expect(first).toMatchObject({ items: [{ edition: 1 }, { edition: 2 }, { edition: 3 }], nextCursor: 'next', at: new Date(7) })
    ground.takeQueries()
    const second = await read()
    expect([runs, ground.takeQueries()]).toEqual([1, []])
    expect(second.items.every((item) => item instanceof Book)).toBe(true)
    // Each reader's own.
    second.items.pop()
    ;(second.items[0] as Book).title = 'mine'
    expect((await read()).items).toMatchObject([{ title: 'Edition 1' }, { title: 'Edition 2' }, { title: 'Edition 3' }])
  })

  test('may hold entities of several classes, each where it stood', async () => {
    const read = () => ground.cache.cached(shelf).get(undefined as never)
    await read()
    const found = await read()
    expect(runs).toBe(1)
    expect(found).toMatchObject({
      author: { id: author.id },
      best: { book: { edition: 1 } },
      rest: [{ others: [{ edition: 2 }, { edition: 3 }] }],
      mixed: [{ id: author.id }, { edition: 1 }],
      none: [],
    })
    expect(Object.getOwnPropertyDescriptor(found, '__proto__')?.value).toMatchObject({ edition: 1 })
    expect(Object.getPrototypeOf(found)).toBe(Object.prototype)
    const em = ground.fork()
    const managed = await ground.cache.cached(shelf, { em }).get(undefined as never)
    expect(managed.author).toBe(managed.mixed[0])
    expect(em.getUnitOfWork().getById(Author, author.id as never)).toBe(managed.author)
  })

  test('show a change of one of their rows, and its end', async () => {
    const read = () => ground.cache.cached(page).get(undefined as never)
    await read()
    const em = ground.fork()
    const [first, second] = await books(em)
    if (first !== undefined) first.title = 'changed'
    if (second !== undefined) em.remove(second)
    await em.flush()
    expect((await read()).items).toMatchObject([{ title: 'changed' }, { edition: 3 }])
    // By a writer that nobody hears of, and who told of this row alone.
    await ground.fork().getConnection().execute('delete from books where edition = 3')
    await ground.cache.cached(Book).invalidate(((await read()).items[1] as Book).id)
    expect((await read()).items).toMatchObject([{ title: 'changed' }])
  })

  test.each(nones)('may be none, and the same from the cache: $name', async (query) => {
    const direct = await query.run(ground.fork(), undefined as never)
    for (let turn = 1; turn <= 2; turn++) expect(await ground.cache.cached(query).get(undefined as never)).toStrictEqual(direct)
    expect(ground.cache.cached(query).stats()).toMatchObject({ hits: 1, misses: 1 })
  })

  test('are read past the result cache of MikroORM', async () => {
    ground.orm.config.set('resultCache', { ...ground.orm.config.get('resultCache'), global: 60_000 })
    for (const all of [3, 4, 5]) {
      expect(await ground.cache.cached(counted).get(undefined as never)).toEqual({ found: all, by: all, inside: all })
      await ground.book(author, all + 1)
    }
  })

  test('are cached for callers with filters too, where the query says that it reads past them', async () => {
    const filtered = () => {
      const em = ground.fork()
      em.addFilter({ name: 'tenant', cond: (args) => ({ title: args.title }), entity: Book })
      em.setFilterParams('tenant', { title: 'none' })
      return em
    }
    const read = (em: EntityManager) => ground.cache.cached(titled, { em }).get({ title: 'Edition 1' })
    for (let turn = 1; turn <= 3; turn++) expect(await read(filtered())).toMatchObject([{ edition: 1 }])
    expect(runs).toBe(1)
    // In a transaction the database answers as ever.
    expect(await filtered().transactional(read)).toMatchObject([{ edition: 1 }])
    expect(runs).toBe(2)
    expect(() => cachedQuery({ name: 'odd', dependsOn, run: books, filters: true as never })).toThrow(
      'filters is true; give false',
    )
  })

  test('that cannot be kept are read once for each reader, and a warning says what stands where', async () => {
    for (let turn = 1; turn <= 3; turn++) {
      expect((await ground.cache.cached(priced).get(undefined as never)).prices[0]?.cents).toBe(5)
      expect(runs).toBe(turn)
    }
    expect(logger.warnings.map(({ message }) => message)).toEqual([
      'The result of the cached query priced cannot be kept (An instance of Money at prices.0 cannot be cached), so each read of it runs the query; return entities, plain data, or both',
    ])
    // Of many at once each gets its own.
    runs = 0
    const found = await Promise.all(Array.from({ length: 5 }, () => ground.cache.cached(mapped).get(undefined as never)))
    expect(new Set(found).size).toBe(5)
    expect(found.map((map) => map.size)).toEqual([3, 3, 3, 3, 3])
    expect(logger.warnings).toHaveLength(2)
    const em = ground.fork()
    const managed = await ground.cache.cached(mapped, { em }).get(undefined as never)
    const [one] = managed.values()
    expect(em.getUnitOfWork().getById(Book, one?.id as never)).toBe(one)
  })
})
