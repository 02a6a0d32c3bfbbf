import type { SqlEntityManager } from '@mikro-orm/sql'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { inRootContext } from '../../src/kernel/root-context.ts'
import { DataRepository } from '../../src/repository/data-repository.ts'
import { Author, Book, countBooks, latestBook } from '../support/cache-entities.ts'
import { type CacheGround, cacheCombinations, openCacheGround } from '../support/cache-ground.ts'

describe.each(cacheCombinations)('bulk writes and cached reads on $dialect with the $store store', ({ dialect, store }) => {
  let ground: CacheGround
  beforeAll(async () => {
    ground = await openCacheGround(dialect, store)
  })
  afterAll(() => ground.close())

  const cachedName = async (id: string) => (await ground.cache.cached(Author).get(id))?.name

  test('an update expires what it changed once its promise has resolved', async () => {
    const { id } = await ground.author({ name: 'old' })
    expect(await cachedName(id)).toBe('old')
    await ground.fork().nativeUpdate(Author, { id }, { name: 'new' })
    expect(await cachedName(id)).toBe('new')
  })

  test('an update through a repository expires too', async () => {
    const { id } = await ground.author({ name: 'old' })
    await cachedName(id)
    const authors = new DataRepository<Author>(ground.fork(), Author)
    await authors.nativeUpdate({ id }, { name: 'new' })
    expect(await cachedName(id)).toBe('new')
  })

  test('a query builder that writes expires once it has run, and one that reads does not', async () => {
    const author = await ground.author({ name: 'old' })
    const { id } = author
    const em = ground.fork() as SqlEntityManager
    await cachedName(id)
    const { hits } = ground.cache.cached(Author).stats()
    await em.createQueryBuilder(Author).select('*').where({ id }).execute()
    await cachedName(id)
    expect(ground.cache.cached(Author).stats().hits).toBe(hits + 1)
    await em.createQueryBuilder(Author).update({ name: 'new' }).where({ id }).execute()
    expect(await cachedName(id)).toBe('new')
    await em.qb(Author).clone().update({ name: 'newer' }).where({ id }).execute()
    expect(await cachedName(id)).toBe('newer')
    const streamed = em.createQueryBuilder(Author).update({ name: 'streamed' }).where({ id }).returning('*').stream()
    for await (const each of streamed) expect(each.id).toBe(id)
    expect(await cachedName(id)).toBe('streamed')
    const bookId = crypto.randomUUID()
    expect(await ground.cache.cached(Book).get(bookId)).toBeNull()
    await em.createQueryBuilder(Book).insert({ id: bookId, author: id, title: 'Built', edition: 1 }).execute()
    expect((await ground.cache.cached(Book).get(bookId))?.title).toBe('Built')
    await em.createQueryBuilder(Author).delete({ id }).execute()
    expect(await cachedName(id)).toBeUndefined()
    expect(await ground.cache.cached(Book).get(bookId)).toBeNull()
  })

  test('a query builder that writes by a condition on other tables expires too', async () => {
    const author = await ground.author({ name: 'Alex' })
    const book = await ground.book(author, 1)
    const em = ground.fork() as SqlEntityManager
    const edition = async () => (await ground.cache.cached(Book).get(book.id))?.edition
    const where = { author: { email: author.email } }
    const update = (edition: number) => em.createQueryBuilder(Book).update({ edition }).where(where)
    expect(await edition()).toBe(1)
    await update(2).execute()
    expect(await edition()).toBe(2)
    await update(3).clone().execute()
    expect(await edition()).toBe(3)
    for await (const each of update(4).returning('*').stream()) expect(each.id).toBe(book.id)
    expect(await edition()).toBe(4)
    await em.transactional((inner) => (inner as SqlEntityManager).createQueryBuilder(Book).delete(where).execute())
    expect(await edition()).toBeUndefined()
  })

  test('an update and a query builder in a transaction that a caller names expire after its commit', async () => {
    const { id } = await ground.author({ name: 'old' })
    await cachedName(id)
    const outside = ground.fork()
    const em = ground.fork() as SqlEntityManager
    await em.begin()
    const { hits } = ground.cache.cached(Author).stats()
    await em.createQueryBuilder(Author).update({ active: false }).where({ id }).execute()
    await outside.nativeUpdate(Author, { id }, { name: 'new' }, { ctx: em.getTransactionContext() as never })
    // Read in between, which fills the cache again where something has expired.
    if (dialect === 'postgresql') expect(await cachedName(id)).toBe('old')
    if (dialect === 'postgresql') expect(ground.cache.cached(Author).stats().hits).toBe(hits + 1)
    await em.commit()
    expect(await cachedName(id)).toBe('new')
    expect((await ground.cache.cached(Author).get(id))?.active).toBe(false)
  })

  test('a write that fails leaves what is cached, and nothing of it in the database', async () => {
    const [one, two] = [await ground.author(), await ground.author({ name: 'two' })]
    await cachedName(two.id)
    await expect(ground.fork().nativeUpdate(Author, { id: two.id }, { email: one.email })).rejects.toThrow()
    expect(await cachedName(two.id)).toBe('two')
    await ground.fork().nativeUpdate(Author, { id: two.id }, { name: 'after' })
    expect(await cachedName(two.id)).toBe('after')
  })

  test('an update in a transaction expires after the commit, and not after a rollback', async () => {
    const { id } = await ground.author({ name: 'old' })
    await cachedName(id)
    const { hits } = ground.cache.cached(Author).stats()
    const rolledBack = ground.fork().transactional(async (em) => {
      await em.nativeUpdate(Author, { id }, { name: 'never' })
      throw new Error('rolled back')
    })
    await expect(rolledBack).rejects.toThrow('rolled back')
    expect(await cachedName(id)).toBe('old')
    expect(ground.cache.cached(Author).stats().hits).toBe(hits + 1)
    await ground.fork().transactional(async (em) => {
      await em.nativeUpdate(Author, { id }, { name: 'new' })
      await em.transactional((inner) => inner.nativeUpdate(Author, { id }, { followers: 7n }))
      if (dialect === 'postgresql') expect(await inRootContext(() => cachedName(id))).toBe('old')
    })
    expect(await cachedName(id)).toBe('new')
    expect((await ground.cache.cached(Author).get(id))?.followers).toBe(7n)
  })

  test('inserts end the knowledge that there is nothing', async () => {
    const author = await ground.author()
    const ids = Array.from({ length: 4 }, () => crypto.randomUUID()) as [string, string, string, string]
    const em = ground.fork()
    const row = (id: string, edition: number) => ({ id, author: author.id, title: 'Bulk', edition })
    const writes = [
      () => em.insertMany(Book, [row(ids[0], 1)] as never),
      () => em.insert(Book, row(ids[1], 2) as never),
      () => em.upsert(Book, row(ids[2], 3) as never),
      () => em.upsertMany(Book, [row(ids[3], 4)] as never),
      () => em.upsert(Book, row(ids[0], 5) as never),
    ]
    for (const [index, write] of writes.entries()) {
      const before = await ground.cache.cached(countBooks).get({})
      await ground.cache.cached(latestBook).get({ authorId: author.id })
      const id = ids[index % 4] as string
      const known = await ground.cache.cached(Book).get(id)
      await write()
      expect((await ground.cache.cached(Book).get(id))?.edition).toBe(index + 1)
      expect((await ground.cache.cached(latestBook).get({ authorId: author.id }))?.edition).toBe(index + 1)
      expect((await ground.cache.cached(countBooks).get({})).books).toBe(before.books + (known === null ? 1 : 0))
    }
  })

  test('new entities given to insertMany expire too', async () => {
    const author = await ground.author()
    await ground.cache.cached(latestBook).get({ authorId: author.id })
    const em = ground.fork()
    await em.insertMany([em.create(Book, { author: author.id, title: 'One', edition: 9 }, { persist: false })])
    expect((await ground.cache.cached(latestBook).get({ authorId: author.id }))?.edition).toBe(9)
  })

  test('a delete expires its rows and those that the database deletes with them', async () => {
    const author = await ground.author()
    const book = await ground.book(author, 1)
    await cachedName(author.id)
    await ground.cache.cached(Book).get(book.id)
    await ground.fork().nativeDelete(Author, { id: author.id })
    expect(await ground.cache.cached(Author).get(author.id)).toBeNull()
    expect(await ground.cache.cached(Book).get(book.id)).toBeNull()
  })
})
