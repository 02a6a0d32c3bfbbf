import { defineEntity, type EntityManager, p, ref } from '@mikro-orm/core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { cachePolicy } from '../../src/cache/policy.ts'
import { idProps } from '../../src/database/entity-props.ts'
import { Account, Address, accountPolicy, Money, Stay, stayPolicy } from '../support/account-entities.ts'
import { Author, authorPolicy, Book, bookPolicy, booksOf } from '../support/cache-entities.ts'
import { type CacheGround, cacheCombinations, openCacheGround } from '../support/cache-ground.ts'

/** With texts that a find leaves out. */
const SheetSchema = defineEntity({
  name: 'Sheet',
  tableName: 'sheets',
  properties: { ...idProps, title: p.string(), note: p.text().lazy().nullable(), body: p.text().lazy().ref().nullable() },
})
class Sheet extends SheetSchema.class {}
SheetSchema.setClass(Sheet)

/** When the caller edits: the read that comes after it goes past the cache. */
const moments = ['before the read', 'while the read is awaited'] as const
const combinations = cacheCombinations.flatMap((each) => moments.map((moment) => ({ ...each, moment })))

describe.each(combinations)('edits of a reference $moment, on $dialect with the $store store', ({ dialect, store, moment }) => {
  let ground: CacheGround
  beforeAll(async () => {
    ground = await openCacheGround(dialect, store, {
      entities: [Sheet],
      caches: [authorPolicy, bookPolicy, accountPolicy, stayPolicy, booksOf, cachePolicy(Sheet, { ttl: 60_000 })],
    })
  })
  afterAll(() => ground.close())

  /** Reads through an entity manager that holds what is edited, and flushes. Gives what was read, and the updates. */
  async function editing<Found>(em: EntityManager, read: () => Promise<Found>, edit: () => unknown): Promise<[Found, string[]]> {
    if (moment === 'before the read') edit()
    const reading = read()
    if (moment !== 'before the read') edit()
    const found = await reading
    ground.takeQueries()
    await em.flush()
    const updates = ground.takeQueries()
    await em.flush()
    expect(ground.takeQueries()).toEqual([])
    return [found, updates.filter((sql) => /\bupdate \S+ set\b/.test(sql) && !sql.includes(' where 0'))]
  }
  const stored = <Entity extends object>(entity: new () => Entity, id: unknown, populate: readonly string[] = []) =>
    ground.fork().findOneOrFail(entity, id as never, { populate: populate as never })

  test('of plain values are written, and the rest is that of the row', async () => {
    const { id, email } = await ground.author({ name: 'old', email: `${crypto.randomUUID()}@example.com` })
    await ground.fork().nativeUpdate(Author, { id }, { born: new Date(0), balance: '1.25' })
    const authors = ground.cache.cached(Author)
    await authors.invalidate(id)
    await authors.get(id)
    const em = ground.fork()
    const author = em.getReference(Author, id)
    const [found, updates] = await editing(
      em,
      () => ground.cache.cached(Author, { em }).get(id),
      () => {
        Object.assign(author, { name: 'mine', born: null, settings: { theme: 'dark', tags: [] } })
      },
    )
    expect(found).toBe(author)
    const expected = { name: 'mine', born: null, settings: { theme: 'dark', tags: [] }, email, balance: '1.25', followers: 0n }
    expect(found).toMatchObject(expected)
    expect(updates).toHaveLength(1)
    expect(await stored(Author, id)).toMatchObject(expected)
    expect(await authors.get(id)).toMatchObject(expected)
  })

  test('of a relation are written', async () => {
    const [author, other] = [await ground.author(), await ground.author()]
    const { id } = await ground.book(author, 3)
    await ground.cache.cached(Book).get(id)
    await ground.cache.cached(booksOf).get({ authorId: author.id })
    const em = ground.fork()
    const book = em.getReference(Book, id)
    const edit = () => Object.assign(book, { author: ref(em.getReference(Author, other.id)) })
    const [found, updates] = await editing(em, () => ground.cache.cached(Book, { em }).getMany([id]), edit)
    expect(found).toEqual([book])
    expect(book).toMatchObject({ title: 'Edition 3', edition: 3 })
    expect([updates.length, (await stored(Book, id)).author.id]).toEqual([1, other.id])
    expect(await ground.cache.cached(booksOf).get({ authorId: author.id })).toEqual([])
  })

  test('in the results of queries are written too', async () => {
    const author = await ground.author()
    const { id } = await ground.book(author, 3)
    await ground.cache.cached(booksOf).get({ authorId: author.id })
    const em = ground.fork()
    const book = em.getReference(Book, id)
    const read = () => ground.cache.cached(booksOf, { em }).get({ authorId: author.id })
    const [found, updates] = await editing(em, read, () => Object.assign(book, { edition: 4 }))
    expect(found).toEqual([book])
    expect([book.title, book.edition, updates.length]).toEqual(['Edition 3', 4, 1])
    expect(await stored(Book, id)).toMatchObject({ title: 'Edition 3', edition: 4 })
  })

  test('of embedded objects and of types of their own are written', async () => {
    const { id: owner } = await ground.author()
    const address = (street: string, city: string) => Object.assign(new Address(), { street, city })
    const making = ground.fork()
    const values = { owner, balance: new Money(5), home: address('Home 1', 'Bonn'), former: [address('Old 1', 'Ulm')] }
    const { id } = making.create(Account, values)
    await making.flush()
    await ground.cache.cached(Account).get(id)
    const em = ground.fork()
    const account = em.getReference(Account, id)
    const [found, updates] = await editing(
      em,
      () => ground.cache.cached(Account, { em }).get(id),
      () => {
        account.home = Object.assign(new Address(), { street: 'Mine 2' })
        account.former = [address('Mine 3', 'Köln')]
      },
    )
    expect(found).toBe(account)
    expect(updates).toHaveLength(1)
    for (const each of [account, await stored(Account, id)]) {
      expect([each.home.line(), each.former.map((former: Address) => former.line())]).toEqual(['Mine 2, Bonn', ['Mine 3, Köln']])
      expect([each.balance, each.owner.id]).toEqual([new Money(5), owner])
    }
  })

  test('of what stands behind references, or is not read, are written', async () => {
    const making = ground.fork()
    const stay = making.create(Stay, { guest: 'Alex', from: new Date(0) } as never)
    const sheet = making.create(Sheet, { title: 'title', note: 'note', body: 'body' } as never)
    await making.flush()
    await ground.cache.cached(Stay).get(stay.id)
    await ground.cache.cached(Sheet).get(sheet.id)
    const em = ground.fork()
    const [ownStay, ownSheet] = [em.getReference(Stay, stay.id), em.getReference(Sheet, sheet.id)]
    const read = () =>
      Promise.all([ground.cache.cached(Stay, { em }).get(stay.id), ground.cache.cached(Sheet, { em }).get(sheet.id)])
    const [found, updates] = await editing(em, read, () => {
      ownStay.guest = ref('mine')
      ownSheet.note = 'mine'
      ownSheet.body = ref('mine')
    })
    expect(found).toEqual([ownStay, ownSheet])
    expect([ownStay.from.unwrap(), ownSheet.title, updates.length]).toEqual([new Date(0), 'title', 2])
    const [storedStay, storedSheet] = [await stored(Stay, stay.id), await stored(Sheet, sheet.id, ['note', 'body'])]
    expect([storedStay.guest.unwrap(), storedStay.from.unwrap()]).toEqual(['mine', new Date(0)])
    expect([storedSheet.title, storedSheet.note, storedSheet.body?.unwrap()]).toEqual(['title', 'mine', 'mine'])
  })

  test('are all there are: what is not edited is not written', async () => {
    const author = await ground.author()
    const { id } = await ground.book(author, 1)
    await ground.cache.cached(Book).get(id)
    const { bypasses } = ground.cache.cached(Book).stats()
    const em = ground.fork()
    const [book, owner] = [em.getReference(Book, id), em.getReference(Author, author.id)]
    const [found, updates] = await editing(
      em,
      () => ground.cache.cached(Book, { em }).get(id),
      () => void owner.id,
    )
    expect([found, updates]).toEqual([book, []])
    expect(book.author.unwrap()).toBe(owner)
    expect(ground.cache.cached(Book).stats().bypasses).toBe(bypasses)
  })
})
