import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { runSql } from '../../src/database/sql.ts'
import { hasErrorCode } from '../../src/errors.ts'
import { Author, authorPolicy, Book, booksOf, countBooks, latestBook } from '../support/cache-entities.ts'
import { type CacheGround, cacheCombinations, openCacheGround } from '../support/cache-ground.ts'

describe.each(cacheCombinations)('cached reads on $dialect with the $store store', ({ dialect, store }) => {
  let ground: CacheGround
  beforeAll(async () => {
    ground = await openCacheGround(dialect, store)
  })
  afterAll(() => ground.close())

  const change = async (id: string, values: Partial<Author>) => {
    const em = ground.fork()
    Object.assign(await em.findOneOrFail(Author, id), values)
    await em.flush()
  }
  const queriesOf = async (read: () => Promise<unknown>) => {
    ground.takeQueries()
    await read()
    return ground.takeQueries().length
  }

  test('a miss reads the database once, and the hit after it does not', async () => {
    const { id } = await ground.author({ name: 'Hit' })
    expect(await queriesOf(() => ground.cache.cached(Author).get(id))).toBe(1)
    expect(await queriesOf(() => ground.cache.cached(Author).get(id))).toBe(0)
    expect(await ground.cache.cached(Author).get(id)).toMatchObject({ id, name: 'Hit' })
  })

  test('the knowledge that there is no row is kept, and ends as the row is inserted', async () => {
    const id = crypto.randomUUID()
    const authors = ground.cache.cached(Author)
    const before = authors.stats().negative
    expect(await authors.get(id)).toBeNull()
    expect(await queriesOf(() => authors.get(id))).toBe(0)
    expect(authors.stats().negative).toBe(before + 1)
    await ground.author({ id })
    expect(await authors.get(id)).toMatchObject({ id })
  })

  test('getOrFail names the entity and the id', async () => {
    const failed = await ground.cache
      .cached(Author)
      .getOrFail(crypto.randomUUID())
      .catch((error: unknown) => error)
    expect(hasErrorCode(failed, 'ENTITY_NOT_FOUND')).toBe(true)
  })

  test('getMany keeps the order, doubles and gaps, with one query for what is missing', async () => {
    const [one, two, three] = [await ground.author(), await ground.author(), await ground.author()]
    const nobody = crypto.randomUUID()
    await ground.cache.cached(Author).get(two.id)
    const ids = [three.id, one.id, nobody, two.id, one.id]
    let found: (Author | null)[] = []
    expect(
      await queriesOf(async () => {
        found = await ground.cache.cached(Author).getMany(ids)
      }),
    ).toBe(1)
    expect(found.map((author) => author?.id)).toEqual([three.id, one.id, undefined, two.id, one.id])
    expect(await queriesOf(() => ground.cache.cached(Author).getMany(ids))).toBe(0)
    expect(await ground.cache.cached(Author).getMany([])).toEqual([])
  })

  test('a flush expires what it changed once it has committed', async () => {
    const { id } = await ground.author({ name: 'Before' })
    await ground.cache.cached(Author).get(id)
    await change(id, { name: 'After' })
    expect(await ground.cache.cached(Author).get(id)).toMatchObject({ name: 'After' })
  })

  test('a change in another process is seen', async () => {
    const other = store === 'memory' ? ground : await ground.openOther()
    const { id } = await ground.author({ name: 'Before' })
    await other.cache.cached(Author).get(id)
    await change(id, { name: 'After' })
    expect(await other.cache.cached(Author).get(id)).toMatchObject({ name: 'After' })
  })

  test('nothing expires before the commit, on a released savepoint, or on a rollback', async () => {
    const { id } = await ground.author({ name: 'Kept' })
    await ground.cache.cached(Author).get(id)
    const { keys } = ground.cache.stats().invalidations
    const em = ground.fork()
    await em.begin()
    ;(await em.findOneOrFail(Author, id)).name = 'Never'
    await em.flush()
    await em.transactional(async (inner) => {
      ;(await inner.findOneOrFail(Author, id)).name = 'Never either'
    })
    expect(ground.cache.stats().invalidations.keys).toBe(keys)
    await em.rollback()
    expect(ground.cache.stats().invalidations.keys).toBe(keys)
    expect(await queriesOf(() => ground.cache.cached(Author).get(id))).toBe(0)
    expect(await ground.cache.cached(Author).get(id)).toMatchObject({ name: 'Kept' })
  })

  test('what a savepoint changed expires with the root commit, and what it rolled back does not', async () => {
    const [kept, dropped] = [await ground.author(), await ground.author()]
    const authors = ground.cache.cached(Author)
    await authors.getMany([kept.id, dropped.id])
    await ground.fork().transactional(async (em) => {
      await em.transactional(async (inner) => {
        ;(await inner.findOneOrFail(Author, kept.id)).name = 'Changed'
      })
      await em
        .transactional(async (inner) => {
          ;(await inner.findOneOrFail(Author, dropped.id)).name = 'Undone'
          await inner.flush()
          throw new Error('roll the savepoint back')
        })
        .catch(() => undefined)
      em.clear()
    })
    expect(await queriesOf(() => authors.get(dropped.id))).toBe(0)
    expect(await authors.get(kept.id)).toMatchObject({ name: 'Changed' })
  })

  test('inside a transaction own writes are read from the database, and nothing is kept', async () => {
    const { id } = await ground.author({ name: 'Committed' })
    const authors = ground.cache.cached(Author)
    await authors.get(id)
    const { bypasses } = authors.stats()
    await ground
      .fork()
      .transactional(async (em) => {
        ;(await em.findOneOrFail(Author, id)).name = 'Uncommitted'
        await em.flush()
        expect(await ground.cache.cached(Author, { em }).get(id)).toMatchObject({ name: 'Uncommitted' })
        expect(await ground.cache.cached(Author).get(id)).toMatchObject({ name: 'Uncommitted' })
        expect(await ground.cache.cached(latestBook).get({ authorId: id })).toBeNull()
        throw new Error('roll back')
      })
      .catch((error: Error) => expect(error.message).toBe('roll back'))
    expect(authors.stats().bypasses).toBe(bypasses + 2)
    expect(await authors.get(id)).toMatchObject({ name: 'Committed' })
  })

  test('with rows to insert or delete the database is read, and nothing is kept', async () => {
    const { id, email } = await ground.author({ email: `${crypto.randomUUID()}@pending.dev` })
    const [inserting, deleting] = [ground.fork(), ground.fork()]
    const added = inserting.create(Author, { email: `${crypto.randomUUID()}@new.dev`, name: 'New' } as never)
    const { bypasses } = ground.cache.cached(Author).stats()
    // As a find does, it flushes first.
    expect(await ground.cache.cached(Author, { em: inserting }).get(added.id)).toBe(added)
    deleting.remove(await deleting.findOneOrFail(Author, id))
    expect(await ground.cache.cached(authorPolicy, { em: deleting }).byEmail(email)).toBeNull()
    expect(ground.cache.cached(Author).stats().bypasses).toBe(bypasses + 2)
  })

  test('edits stay as they are in what the cache gives, and reach nobody else', async () => {
    const { id, email } = await ground.author({ name: 'Old', email: `${crypto.randomUUID()}@edited.dev` })
    const authors = ground.cache.cached(authorPolicy)
    await authors.byEmail(email)
    await authors.byEmail(email)
    const em = ground.fork()
    const managed = await em.findOneOrFail(Author, id)
    Object.assign(managed, { name: 'New, not flushed', email: `${crypto.randomUUID()}@unflushed.dev` })
    const own = ground.cache.cached(authorPolicy, { em })
    const queries = await queriesOf(async () => {
      expect(await own.get(id)).toBe(managed)
      // Asked by what is stored, as a find asks.
      expect(await own.byEmail(email)).toBe(managed)
    })
    expect(queries).toBe(0)
    expect(managed.name).toBe('New, not flushed')
    expect(await authors.get(id)).toMatchObject({ name: 'Old' })
    await em.flush()
    expect(await authors.get(id)).toMatchObject({ name: 'New, not flushed', email: managed.email })
  })

  test('a unique property leads to the row, and its old and new value expire', async () => {
    const [before, after] = [`${crypto.randomUUID()}@old.dev`, `${crypto.randomUUID()}@new.dev`]
    const { id } = await ground.author({ email: before })
    const authors = ground.cache.cached(authorPolicy)
    expect(await authors.byEmail(after)).toBeNull()
    await authors.byEmail(before)
    await authors.byEmail(before)
    expect(await queriesOf(() => authors.byEmail(before))).toBe(0)
    await change(id, { email: after })
    expect(await authors.byEmail(before)).toBeNull()
    expect(await authors.byEmail(after)).toMatchObject({ id, email: after })
    await ground.author({ id: crypto.randomUUID(), email: before })
    expect(await authors.byEmail(before)).toMatchObject({ email: before })
  })

  test('a value that moved without an event is found by the database', async () => {
    const [mail, other] = [`${crypto.randomUUID()}@a.dev`, `${crypto.randomUUID()}@b.dev`]
    const { id } = await ground.author({ email: mail })
    const authors = ground.cache.cached(authorPolicy)
    await authors.byEmail(mail)
    await ground.fork().nativeUpdate(Author, { id }, { email: other })
    await authors.invalidate(id)
    expect(await authors.byEmail(mail)).toBeNull()
  })

  test('what cannot be a value of a unique property leads to no row, also inside a transaction', async () => {
    const author = await ground.author()
    ground.takeQueries()
    for (const value of [{ $ne: '' }, { $like: '%' }, {}, [author.email], () => author.email, Symbol('email')]) {
      expect(await ground.cache.cached(authorPolicy).byEmail(value as never)).toBeNull()
      const inside = await ground.fork().transactional((em) => ground.cache.cached(authorPolicy, { em }).byEmail(value as never))
      expect(inside).toBeNull()
    }
    expect(ground.takeQueries().filter((sql) => sql.startsWith('select'))).toEqual([])
  })

  test('parameters of a query that no key can carry are refused', async () => {
    await expect(ground.cache.cached(booksOf).get({ author: () => 'x' } as never)).rejects.toMatchObject({
      code: 'OPTION_INVALID',
      message: expect.stringMatching(/booksOf.*A function at author cannot be cached/),
    })
  })

  test('a lookup by a property that the policy does not list says how to list it', async () => {
    // The types refuse it too.
    const untyped = ground.cache.cached(authorPolicy) as unknown as { byName(value: string): Promise<unknown> }
    const refused = await untyped.byName('Alex').catch((error: unknown) => error)
    expect(refused).toMatchObject({ code: 'CACHE_POLICY_MISSING', message: expect.stringContaining("uniques: ['name']") })
  })

  test('invalidate and invalidateAll expire by hand what raw SQL has changed', async () => {
    const [one, two] = [await ground.author(), await ground.author()]
    const authors = ground.cache.cached(Author)
    await authors.getMany([one.id, two.id])
    await runSql(ground.fork(), "update authors set name = 'Bulk' where id in (?, ?)", [one.id, two.id])
    await authors.invalidate(one.id)
    expect((await authors.getMany([one.id, two.id])).map((author) => author?.name)).toEqual(['Bulk', 'Alex'])
    await authors.invalidateAll()
    expect(await authors.get(two.id)).toMatchObject({ name: 'Bulk' })
  })

  test('a deleted parent expires what the database deletes below it', async () => {
    const author = await ground.author()
    const book = await ground.book(author, 1)
    await ground.cache.cached(Book).get(book.id)
    await ground.cache.cached(booksOf).get({ authorId: author.id })
    const em = ground.fork()
    em.remove(em.getReference(Author, author.id))
    await em.flush()
    expect(await ground.cache.cached(Author).get(author.id)).toBeNull()
    expect(await ground.cache.cached(Book).get(book.id)).toBeNull()
    expect(await ground.cache.cached(booksOf).get({ authorId: author.id })).toEqual([])
  })

  test('a query expires with an insert, an update, a move and a delete of what it depends on, and with nothing else', async () => {
    const [one, two, third] = [await ground.author(), await ground.author(), await ground.author()]
    const latest = async (authorId: string) => (await ground.cache.cached(latestBook).get({ authorId }))?.edition
    const all = (authorId: string) => ground.cache.cached(booksOf).get({ authorId })
    expect(await latest(one.id)).toBeUndefined()
    const book = await ground.book(one, 1)
    expect(await latest(one.id)).toBe(1)
    await latest(third.id)

    const em = ground.fork()
    const managed = await em.findOneOrFail(Book, book.id)
    managed.edition = 7
    await em.flush()
    expect(await latest(one.id)).toBe(7)

    expect([(await all(one.id)).length, (await all(two.id)).length]).toEqual([1, 0])
    managed.author = em.getReference(Author, two.id, { wrapped: true })
    await em.flush()
    expect([(await all(one.id)).length, (await all(two.id)).length]).toEqual([0, 1])
    expect([await latest(one.id), await latest(two.id)]).toEqual([undefined, 7])

    managed.edition = 8 // dirty as it is removed: the old values count, not these
    managed.author = em.getReference(Author, one.id, { wrapped: true })
    em.remove(managed)
    await em.flush()
    expect([await latest(two.id), (await all(two.id)).length]).toEqual([undefined, 0])
    expect(await queriesOf(() => latest(third.id))).toBe(0)
  })

  test('an update through a reference that was never loaded expires whatever its old values were', async () => {
    const [one, two] = [await ground.author(), await ground.author()]
    const book = await ground.book(one, 1)
    expect(await ground.cache.cached(booksOf).get({ authorId: one.id })).toHaveLength(1)
    const em = ground.fork()
    const reference = em.getReference(Book, book.id)
    reference.author = em.getReference(Author, two.id, { wrapped: true })
    em.persist(reference)
    await em.flush()
    expect(await ground.cache.cached(booksOf).get({ authorId: one.id })).toHaveLength(0)
  })

  test('a query of plain values keeps them with their types, each time anew', async () => {
    const first = await ground.cache.cached(countBooks).get({})
    first.at.setFullYear(1)
    const second = await ground.cache.cached(countBooks).get({})
    expect(second).toEqual({ books: first.books, at: new Date(0) })
    await ground.book(await ground.author(), 1)
    expect((await ground.cache.cached(countBooks).get({})).books).toBe(first.books + 1)
  })

  test('every type comes back as the database gave it, and the next flush writes nothing', async () => {
    const em = ground.fork()
    const { id } = em.create(Author, {
      ...{ email: `${crypto.randomUUID()}@types.dev`, name: '', born: new Date(1234567890123), followers: 2n ** 52n },
      ...{ portrait: Buffer.from([0, 255, 128]), settings: { theme: '$', tags: ['a', ''] }, balance: '1234567890.10' },
      ...{ active: false, rating: 0 },
    } as never) as Author
    await em.flush()
    const fromDatabase = { ...(await ground.fork().findOneOrFail(Author, id)) }
    await ground.cache.cached(Author).get(id)
    const reader = ground.fork()
    const managed = await ground.cache.cached(Author, { em: reader }).getOrFail(id)
    for (const name of ['email', 'name', 'born', 'followers', 'portrait', 'settings', 'balance', 'active', 'rating'] as const) {
      expect(managed[name], name).toEqual(fromDatabase[name])
    }
    expect(managed.followers).toBe(2n ** 52n)
    expect(await queriesOf(() => reader.flush())).toBe(0)
    managed.name = 'Written'
    await reader.flush()
    expect(await ground.cache.cached(Author).get(id)).toMatchObject({ name: 'Written' })
  })

  test('a result that somebody changes reaches nobody else', async () => {
    const { id } = await ground.author({ name: 'Mine' })
    const authors = ground.cache.cached(Author)
    const [first, second] = await Promise.all([authors.getOrFail(id), authors.getOrFail(id)])
    first.name = 'Spoiled'
    expect(second.name).toBe('Mine')
    expect((await authors.getOrFail(id)).name).toBe('Mine')
  })

  test('an entity that the caller holds already is never moved backwards', async () => {
    const { id } = await ground.author({ name: 'Cached' })
    await ground.cache.cached(Author).get(id)
    const em = ground.fork()
    await ground.fork().nativeUpdate(Author, { id }, { name: 'Fresher' })
    const managed = await em.findOneOrFail(Author, id)
    expect(await ground.cache.cached(Author, { em }).get(id)).toBe(managed)
    expect(managed.name).toBe('Fresher')
    await ground.cache.cached(Author).invalidate(id)
  })

  test('many misses at once run one load, and a failing load fails them all', async () => {
    const { id } = await ground.author()
    const authors = ground.cache.cached(Author)
    const { loads } = authors.stats()
    const found = await Promise.all(Array.from({ length: 100 }, () => authors.get(id)))
    expect(new Set(found.map((author) => author?.id))).toEqual(new Set([id]))
    expect(authors.stats().loads).toBe(loads + 1)

    const other = await ground.author()
    const driver = ground.orm.em.getDriver()
    const find = driver.find
    driver.find = () => Promise.reject(new Error('the database failed'))
    const refused = await Promise.allSettled([authors.get(other.id), authors.get(other.id)])
    driver.find = find
    expect(refused.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    expect(authors.stats().loads).toBe(loads + 2)
    expect(await authors.get(other.id)).toMatchObject({ id: other.id })
  })

  test('what cannot be an id has no entity, without a query', async () => {
    expect(await queriesOf(() => ground.cache.cached(Author).get('no uuid'))).toBe(0)
    expect(await ground.cache.cached(Author).getMany(['no uuid'])).toEqual([null])
  })

  test('H and T_avg follow from hits, misses and times', async () => {
    const other = await ground.openOther()
    const { id } = await ground.author()
    const authors = other.cache.cached(Author)
    for (let i = 0; i < 4; i++) await authors.get(id)
    const { requests, hits, misses, hitRate, tCache, tDatabase, tAverage } = authors.stats()
    expect({ requests, hits, misses, hitRate }).toEqual({ requests: 4, hits: 3, misses: 1, hitRate: 0.75 })
    expect(tDatabase).toBeGreaterThan(0)
    expect(tAverage).toBeCloseTo(0.75 * tCache + 0.25 * (tCache + tDatabase), 10)
    expect(other.cache.stats().caches).toMatchObject({ Author: { requests: 4 }, latestBook: { requests: 0 } })
  })
})
