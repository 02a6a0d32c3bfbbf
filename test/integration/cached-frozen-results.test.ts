import { wrap } from '@mikro-orm/core'
import { afterEach, describe, expect, test } from 'vitest'
import { cachePolicy } from '../../src/cache/policy.ts'
import { Author, authorPolicy, Book, booksOf, latestBook } from '../support/cache-entities.ts'
import { type CacheGround, cacheCombinations, openCacheGround } from '../support/cache-ground.ts'

const frozenAuthors = cachePolicy(Author, { uniques: ['email'], frozen: true })
const frozenBooks = cachePolicy(Book, { frozen: true })

describe.each(cacheCombinations)('frozen results on $dialect with the $store store', ({ dialect, store }) => {
  let ground: CacheGround
  afterEach(() => ground.close())
  const open = async () => {
    const caches = [frozenAuthors, frozenBooks, latestBook, booksOf]
    ground = await openCacheGround(dialect, store, { caches, tier: { ttl: 60_000 } })
    return ground.cache.cached(frozenAuthors)
  }
  const settings = { theme: 'dark', tags: ['one', 'two'] }
  const addAuthor = async () => {
    const em = ground.fork()
    const author = em.create(Author, {
      ...{ email: `${crypto.randomUUID()}@frozen.dev`, name: 'Alex', followers: 7n, balance: '1.50' },
      ...{ born: new Date(1000), portrait: Buffer.from('portrait'), settings },
    } as never) as Author
    await em.flush()
    return author
  }

  test('are one object for all who read the same copy, until a commit ends it', async () => {
    const authors = await open()
    const { id, email } = await addAuthor()
    // With Redis: once the copy is kept. Who shares a load gets one object too, which is not yet that of the copy.
    const isAtHand = async () => {
      const { atHand } = authors.stats()
      await authors.get(id)
      return authors.stats().atHand > atHand
    }
    await expect.poll(isAtHand, { timeout: 20_000 }).toBe(true)
    const shared = await authors.getOrFail(id)
    expect(await authors.get(id)).toBe(shared)
    await authors.byEmail(email) // reads the id of the row, and with it the row itself
    expect(await authors.byEmail(email)).toBe(shared)
    expect((await authors.getMany([id, id])).every((each) => each === shared)).toBe(true)
    const em = ground.fork()
    ;(await em.findOneOrFail(Author, id)).name = 'new'
    await em.flush()
    expect((await authors.get(id))?.name).toBe('new')
    expect(shared.name).toBe('Alex')
  })

  test('have what other results have, and nothing of them can be changed for the next reader', async () => {
    const authors = await open()
    const { id } = await addAuthor()
    const found = await ground.fork().findOneOrFail(Author, id)
    const author = await authors.getOrFail(id)
    expect(author).toBeInstanceOf(Author)
    expect(wrap(author).toObject()).toEqual(wrap(found).toObject())
    const texts = { followers: '7' }
    expect(JSON.parse(JSON.stringify({ ...wrap(author).toObject(), ...texts }))).toEqual(
      JSON.parse(JSON.stringify({ ...wrap(found).toObject(), ...texts })),
    )
    const changes: readonly (() => unknown)[] = [
      () => Object.assign(author, { name: 'spoiled' }),
      () => Object.assign(author, { born: null }),
      () => Object.assign(author, { more: 1 }),
      () => Reflect.deleteProperty(author, 'name') || Object.assign(author, { name: 'again' }),
      () => Object.assign(author.settings as object, { theme: 'light' }),
      () => author.settings?.tags.push('three'),
    ]
    for (const change of changes) expect(change).toThrow(TypeError)
    author.born?.setTime(0)
    author.portrait?.fill(0)
    expect(author.born).toEqual(new Date(1000))
    expect(Buffer.from(author.portrait as Buffer).toString()).toBe('portrait')
    expect(author.settings).toEqual(settings)
    expect(author.books.isInitialized()).toBe(false)
    const [one, other] = [author.books, author.books]
    expect(one === other).toBe(false)
  })

  test('hold frozen references, and come from queries too', async () => {
    const authors = await open()
    const { id } = await addAuthor()
    const author = await authors.getOrFail(id)
    await ground.book(author, 1)
    const latest = await ground.cache.cached(latestBook).get({ authorId: id })
    expect(latest?.author.id).toBe(id)
    expect(Object.isFrozen(latest)).toBe(true)
    expect(() => Object.assign(latest?.author ?? {}, { entity: author })).toThrow(TypeError)
    expect(() => Object.assign(latest?.author.unwrap() ?? {}, { id: 'other' })).toThrow(TypeError)
    for (const book of await ground.cache.cached(booksOf).get({ authorId: id })) expect(Object.isFrozen(book)).toBe(true)
    expect(JSON.parse(JSON.stringify(latest))).toMatchObject({ author: id, edition: 1 })
  })

  test('are left to readers who have an entity manager, whose own results can be changed and flushed', async () => {
    const authors = await open()
    const { id } = await addAuthor()
    await authors.get(id)
    const em = ground.fork()
    const managed = await ground.cache.cached(frozenAuthors, { em }).getOrFail(id)
    managed.name = 'changed'
    managed.settings?.tags.push('three')
    await em.flush()
    expect(await authors.get(id)).toMatchObject({ name: 'changed', settings: { tags: ['one', 'two', 'three'] } })
  })
})

test('without frozen in its policy each result is its reader’s own', async () => {
  const ground = await openCacheGround('sqlite', 'memory', { caches: [authorPolicy] })
  const { id } = await ground.author()
  const authors = ground.cache.cached(authorPolicy)
  await authors.get(id)
  expect(await authors.get(id)).not.toBe(await authors.get(id))
  expect(Object.isFrozen(await authors.get(id))).toBe(false)
  await ground.close()
})
