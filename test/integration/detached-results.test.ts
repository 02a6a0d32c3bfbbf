import { Reference, wrap } from '@mikro-orm/core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Account, Address, Medium, Money, PaidPlan, Photo, Plan, Stay, Visit } from '../support/account-entities.ts'
import { Author, Book, booksOf } from '../support/cache-entities.ts'
import { type CacheGround, cacheCombinations, openCacheGround } from '../support/cache-ground.ts'

describe.each(cacheCombinations)('detached results on $dialect with the $store store', ({ dialect, store }) => {
  let ground: CacheGround
  beforeAll(async () => {
    ground = await openCacheGround(dialect, store)
  })
  afterAll(() => ground.close())

  const account = async () => {
    const em = ground.fork()
    const { id: owner } = await ground.author()
    const address = (street: string) => Object.assign(new Address(), { street, city: 'Bonn' })
    const { id } = em.create(Account, {
      ...{ owner, balance: new Money(-5), home: address('Home 1'), former: [address('Past 2'), address('Past 3')] },
    })
    await em.flush()
    return { id, owner }
  }
  /** Read once to fill and once to hit. */
  const hitOf = async <Entity extends object>(entity: new () => Entity, id: string): Promise<Entity> => {
    const reads = ground.cache.cached(entity)
    // What was loaded is handed out while it is on its way to the store, so the next read may still come before it.
    for (;;) {
      const { hits } = reads.stats()
      const found = await reads.getOrFail(id as never)
      if (reads.stats().hits > hits) return found
    }
  }

  test('are instances of their class, with its getters, methods and embedded objects', async () => {
    const { id } = await account()
    const found = await hitOf(Account, id)
    expect(found).toBeInstanceOf(Account)
    expect(found.constructor).toBe(Account)
    expect([found.rich, found.owes()]).toEqual([false, true])
    expect(found.balance).toBeInstanceOf(Money)
    expect(found.home).toBeInstanceOf(Address)
    expect([found.home, ...found.former].map((address) => address.line())).toEqual([
      'Home 1, Bonn',
      'Past 2, Bonn',
      'Past 3, Bonn',
    ])
  })

  test('of several classes in one table have their own', async () => {
    const em = ground.fork()
    const [plain, paid] = [em.create(Plan, { name: 'plain' }), em.create(PaidPlan, { name: 'paid', price: 5 })]
    await em.flush()
    const found = await hitOf(Plan, paid.id)
    expect(found).toBeInstanceOf(PaidPlan)
    expect((found as PaidPlan).free()).toBe(false)
    expect((await hitOf(Plan, plain.id)).constructor).toBe(Plan)
  })

  test('are written as JSON as what the database gives', async () => {
    const { id, owner } = await account()
    const json = (entity: object) => JSON.parse(JSON.stringify(entity))
    expect(json(await hitOf(Account, id))).toEqual(json(await ground.fork().findOneOrFail(Account, id)))
    expect(json(await hitOf(Author, owner))).toEqual(json(await ground.fork().findOneOrFail(Author, owner)))
    expect(Object.keys(await hitOf(Author, owner))).toEqual(expect.arrayContaining(['id', 'email', 'name', 'born', 'settings']))
  })

  test('have references with an identity only, and collections that nobody has loaded', async () => {
    const { id, owner } = await account()
    const reference = (await hitOf(Account, id)).owner
    expect(Reference.isReference(reference)).toBe(true)
    expect([reference.id, reference.isInitialized(), reference.unwrap() instanceof Author]).toEqual([owner, false, true])
    expect((await ground.fork().findOneOrFail(Author, reference.id)).id).toBe(owner)
    const { books } = await hitOf(Author, owner)
    expect(books.isInitialized()).toBe(false)
    expect(() => books.getItems()).toThrow('not initialized')
    expect(wrap(await hitOf(Author, owner)).isInitialized()).toBe(true)
  })

  test('share nothing with what is kept', async () => {
    const { id } = await account()
    const first = await hitOf(Account, id)
    Object.assign(first.home, { street: 'Spoiled' })
    first.former.pop()
    const second = await hitOf(Account, id)
    expect([second.home.street, second.former.length]).toEqual(['Home 1', 2])

    const em = ground.fork()
    const settings = { theme: 'dark', tags: ['a'] }
    const values = {
      email: `${crypto.randomUUID()}@share.dev`,
      name: 'x',
      born: new Date(5),
      portrait: Buffer.from([1]),
      settings,
    }
    const { id: author } = em.create(Author, values as never) as Author
    await em.flush()
    const one = await hitOf(Author, author)
    one.born?.setTime(0)
    one.portrait?.fill(9)
    one.settings?.tags.push('spoiled')
    const managed = await ground.cache.cached(Author, { em: ground.fork() }).getOrFail(author)
    managed.settings?.tags.push('spoiled too')
    const other = await hitOf(Author, author)
    expect([other.born, other.portrait, other.settings]).toEqual([new Date(5), Buffer.from([1]), settings])
  })

  test('of a class with a table of its own share nothing with what is kept either', async () => {
    const em = ground.fork()
    const values = { takenAt: new Date(5), thumbnail: Buffer.from([1]), tags: ['a'] }
    const { id } = em.create(Photo, { name: 'photo', ...values })
    await em.flush()
    const first = (await hitOf(Medium, id)) as Photo
    expect(first).toBeInstanceOf(Photo)
    first.takenAt.setTime(0)
    first.thumbnail.fill(9)
    first.tags.push('spoiled')
    const { takenAt, thumbnail, tags } = (await hitOf(Medium, id)) as Photo
    expect({ takenAt, thumbnail, tags }).toEqual(values)
  })

  test('of plain columns and dates alone share nothing with what is kept either', async () => {
    const em = ground.fork()
    const values = { name: 'visit', guests: 0, length: 1.5, paid: false, from: new Date(5), to: null }
    const { id } = em.create(Visit, values)
    await em.flush()
    const first = await hitOf(Visit, id)
    expect(first).toMatchObject(values)
    first.from.setTime(0)
    Object.assign(first, { guests: 9, to: new Date(0) })
    expect(await hitOf(Visit, id)).toMatchObject(values)
    const [one, other] = await ground.cache.cached(Visit).getMany([id, id])
    one?.from.setTime(0)
    expect(other).toMatchObject(values)
  })

  test('whose dates stand behind references share none of them', async () => {
    const em = ground.fork()
    const { id } = em.create(Stay, { guest: 'somebody', from: new Date(5) })
    await em.flush()
    const first = await hitOf(Stay, id)
    first.from.unwrap()?.setTime(0)
    first.guest.set('nobody')
    const second = await hitOf(Stay, id)
    expect([second.guest.unwrap(), second.from.unwrap()]).toEqual(['somebody', new Date(5)])
  })

  test('of one query belong to one reader each', async () => {
    const author = await ground.author()
    await ground.book(author, 1)
    const read = () => ground.cache.cached(booksOf).get({ authorId: author.id })
    await read()
    const [[one], [other]] = [await read(), await read()]
    expect(one).toEqual(other)
    expect(one).not.toBe(other)
    expect(one?.author.id).toBe(author.id)
  })

  test('can be related to by their ids', async () => {
    const author = await ground.author()
    const em = ground.fork()
    const book = em.create(Book, { author: (await hitOf(Author, author.id)).id, title: 'Related', edition: 1 })
    await em.flush()
    expect((await hitOf(Book, book.id)).author.id).toBe(author.id)
  })

  test.each(['related to', 'persisted'] as const)(
    'that are %s are not inserted again, and nothing else of it is kept',
    async (how) => {
      const author = await ground.author()
      const found = await hitOf(Author, author.id)
      const before = await ground.fork().count(Book)
      const writing = ground.fork().transactional(async (em) => {
        em.create(Book, { author: author.id, title: 'Beside', edition: 1 })
        if (how === 'persisted') em.persist(found)
        else em.create(Book, { author: found, title: 'Related', edition: 1 })
        const refused = { code: 'ENTITY_DETACHED', message: expect.stringContaining('em.getReference(Author, id)') }
        // Whoever catches it has a transaction of which a part was forgotten.
        await expect(em.flush()).rejects.toMatchObject(refused)
      })
      await expect(writing).rejects.toMatchObject({ code: 'ENTITY_DETACHED' })
      expect(await ground.fork().count(Book)).toBe(before)
    },
  )

  test('that only MikroORM can make are not inserted again either', async () => {
    const em = ground.fork()
    const { id } = em.create(PaidPlan, { name: 'paid', price: 5 })
    await em.flush()
    await expect(
      ground
        .fork()
        .persist(await hitOf(Plan, id))
        .flush(),
    ).rejects.toMatchObject({ code: 'ENTITY_DETACHED' })
  })

  test('have references that others can be related to', async () => {
    const author = await ground.author()
    const em = ground.fork()
    const first = em.create(Book, { author: author.id, title: 'First', edition: 1 })
    await em.flush()
    const { author: reference } = await hitOf(Book, first.id)
    const second = em.create(Book, { author: reference, title: 'Second', edition: 1 })
    await em.flush()
    expect((await hitOf(Book, second.id)).author.id).toBe(author.id)
  })

  test('can be merged into an entity manager: a flush writes what was changed after that', async () => {
    const author = await ground.author({ name: 'before' })
    const em = ground.fork()
    const merged = em.merge(await hitOf(Author, author.id))
    ground.takeQueries()
    await em.flush()
    expect(ground.takeQueries()).toEqual([])
    merged.name = 'after'
    await em.flush()
    const [update] = ground.takeQueries().filter((query) => /update/i.test(query) && !query.includes('cache_invalidations'))
    expect(update).toContain('name')
    expect(update).not.toContain('email')
    expect(await hitOf(Author, author.id)).toMatchObject({ name: 'after' })
  })
})
