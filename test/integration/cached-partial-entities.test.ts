import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { runSql } from '../../src/database/sql.ts'
import { Account, Address, Money, Photo } from '../support/account-entities.ts'
import { Author, Book, booksOf } from '../support/cache-entities.ts'
import { type CacheGround, cacheCombinations, openCacheGround } from '../support/cache-ground.ts'

describe.each(cacheCombinations)('entities held in part, on $dialect with the $store store', ({ dialect, store }) => {
  let ground: CacheGround
  beforeAll(async () => {
    ground = await openCacheGround(dialect, store)
  })
  afterAll(() => ground.close())
  const flushedBy = async (em: ReturnType<CacheGround['fork']>) => {
    ground.takeQueries()
    await em.flush()
    return ground.takeQueries()
  }

  test('get what they lack, without a query, and keep what they have', async () => {
    const { id } = await ground.author({ name: 'old', email: 'part@example.com' })
    await ground.cache.cached(Author).get(id)
    const em = ground.fork()
    const held = await em.findOneOrFail(Author, id, { fields: ['name'] })
    // Another writer, whom nobody hears, so that what is held is newer or older than what is cached.
    await runSql(ground.fork(), `update authors set name = 'new', followers = 7 where id = ?`, [id])
    await ground.cache.cached(Author).get(id, { fresh: true })
    ground.takeQueries()
    const found = await ground.cache.cached(Author, { em }).get(id)
    expect(found).toBe(held)
    expect(found).toMatchObject({ name: 'old', email: 'part@example.com', followers: 7n, active: true, born: null })
    expect(ground.takeQueries()).toEqual([])
    expect(await flushedBy(em)).toEqual([])
    // As whole as one that was found: nothing is read once more.
    expect(await em.findOne(Author, id)).toBe(held)
    expect(ground.takeQueries()).toEqual([])
    if (found !== null) found.followers = 8n
    expect(await flushedBy(em)).toHaveLength(1)
    expect(await ground.cache.cached(Author).get(id)).toMatchObject({ name: 'new', followers: 8n })
  })

  test('in the results of queries too', async () => {
    const author = await ground.author()
    const { id } = await ground.book(author, 3)
    await ground.cache.cached(booksOf).get({ authorId: author.id })
    const em = ground.fork()
    await em.findOneOrFail(Book, id, { fields: ['title'] })
    const [book] = await ground.cache.cached(booksOf, { em }).get({ authorId: author.id })
    expect(book).toMatchObject({ title: 'Edition 3', edition: 3 })
    expect(book?.author.id).toBe(author.id)
    expect(await flushedBy(em)).toEqual([])
  })

  test('with embedded objects, types of their own and a table of their own', async () => {
    const { id: owner } = await ground.author()
    const em = ground.fork()
    const home = Object.assign(new Address(), { street: 'Home 1', city: 'Bonn' })
    const account = em.create(Account, { owner, balance: new Money(-5), home, former: [home] })
    const photo = em.create(Photo, { name: 'p', takenAt: new Date(7), thumbnail: Buffer.from('a'), tags: ['x'] })
    await em.flush()
    await ground.cache.cached(Account).get(account.id)
    await ground.cache.cached(Photo).get(photo.id)
    const own = ground.fork()
    await own.findOneOrFail(Account, account.id, { fields: ['home.city'] })
    await own.findOneOrFail(Photo, photo.id, { fields: ['name'] })
    const found = await ground.cache.cached(Account, { em: own }).get(account.id)
    expect(found?.home).toBeInstanceOf(Address)
    expect(found?.home.line()).toBe('Home 1, Bonn')
    expect(found?.balance).toEqual(new Money(-5))
    expect(found?.former[0]?.line()).toBe('Home 1, Bonn')
    expect(found?.owner.id).toBe(owner)
    const shot = await ground.cache.cached(Photo, { em: own }).get(photo.id)
    expect(shot).toMatchObject({ name: 'p', takenAt: new Date(7), tags: ['x'] })
    expect(await flushedBy(own)).toEqual([])
  })
})
