import { randomUUID } from 'node:crypto'
import { MikroORM, RequestContext } from '@mikro-orm/core'
import { PostgreSqlDriver } from '@mikro-orm/postgresql'
import { SqliteDriver } from '@mikro-orm/sqlite'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createDataAccess, type DataAccess, dataAccess } from '../../src/index.ts'
import { Author, authorPolicy, Book, countBooks } from '../support/cache-entities.ts'
import { cacheCombinations } from '../support/cache-ground.ts'
import { type CachedAccess, cacheOf, openCachedAccess } from '../support/cached-access.ts'
import { openTestDatabase } from '../support/databases.ts'

// MikroORM knows a context by the name of its ORM, which is `default` unless somebody says otherwise.
describe.each(cacheCombinations)('two adopted ORMs of one name on $dialect with the $store store', ({ dialect, store }) => {
  const open: (() => Promise<unknown>)[] = []
  afterEach(async () => {
    for (const close of open.splice(0).reverse()) await close()
  })
  const openAccess = async (name: string): Promise<DataAccess> => {
    const database = await openTestDatabase(dialect)
    const where = dialect === 'sqlite' ? { dbName: database.url.replace(/^sqlite:/, '') } : { clientUrl: database.url }
    const orm = await MikroORM.init({
      ...where,
      driver: dialect === 'sqlite' ? SqliteDriver : PostgreSqlDriver,
      entities: [Author, Book],
      extensions: [dataAccess({ modules: [{ name: 'authors', caches: [authorPolicy, countBooks] }] })],
    } as never)
    const data = await createDataAccess({ orm, cache: cacheOf(store) })
    open.push(
      () => database.close(),
      () => orm.close(true),
      () => data.close(),
    )
    await data.migrate()
    await orm.schema.update()
    const em = data.fork()
    em.create(Author, { id, email: `${name}@example.com`, name })
    await em.flush()
    return data
  }
  const id = '01a225b6-e0e9-7785-ada3-00ac8186b482'
  let [one, other] = [] as unknown as [DataAccess, DataAccess]
  beforeEach(async () => {
    ;[one, other] = [await openAccess('one'), await openAccess('other')]
    const em = other.fork()
    em.create(Book, { author: id, title: 'of the other', edition: 1 })
    await em.flush()
  })
  const read = async () => [
    (await other.cached(Author).get(id))?.name,
    (await other.cached(authorPolicy).byEmail('other@example.com'))?.name,
    (await other.cached(countBooks).get({})).books,
  ]
  const itsOwn = ['other', 'other', 1]

  test('each read gives what its own database has, in a transaction of the other one and in its request', async () => {
    for (let turn = 1; turn <= 2; turn++) {
      expect(await one.unitOfWork(read)).toEqual(itsOwn)
      expect(await one.orm.em.transactional(read)).toEqual(itsOwn)
      expect(await RequestContext.create(one.orm.em, read)).toEqual(itsOwn)
    }
    expect(other.cached(Author).stats().bypasses).toBe(0)
    expect((await one.cached(Author).get(id))?.name).toBe('one')
  })

  test('a filter of its own hides there what it hides, and one of the other ORM nothing', async () => {
    one.orm.em.addFilter({ name: 'none', cond: { name: 'nobody' }, entity: Author })
    await read()
    expect(await one.unitOfWork(read)).toEqual(itsOwn)
    other.orm.em.addFilter({ name: 'none', cond: { name: 'nobody' }, entity: Author })
    expect(await one.unitOfWork(() => other.cached(Author).get(id))).toBeNull()
    expect(await RequestContext.create(one.orm.em, () => other.cached(Author).get(id))).toBeNull()
  })

  test('an entity manager that leads to the other ORM there is refused, and a fork is not', async () => {
    await one.unitOfWork(async () => {
      await expect(other.cached(Author, { em: other.orm.em }).get(id)).rejects.toMatchObject({
        code: 'OPTION_INVALID',
        message: expect.stringContaining('give a fork of this data access'),
      })
      expect((await other.cached(Author, { em: other.fork() }).get(id))?.name).toBe('other')
    })
  })
})

describe.each(cacheCombinations)('a fork inside a transaction on $dialect with the $store store', ({ dialect, store }) => {
  let access: CachedAccess
  let id = ''
  beforeEach(async () => {
    id = randomUUID()
    access = await openCachedAccess(dialect, store, { entities: [Author, Book], caches: [authorPolicy, countBooks] })
    await access.add([Author, { id, email: `${id}@example.com`, name: 'Alex' }])
  })
  afterEach(() => access.close())

  const reads: readonly (readonly [what: string, read: (data: DataAccess) => Promise<unknown>, gives: unknown])[] = [
    ['by id', (data) => data.cached(Author, { em: data.fork() }).get(id), { name: 'Alex' }],
    ['of several', (data) => data.cached(Author, { em: data.fork() }).getMany([id]), [{ name: 'Alex' }]],
    [
      'by a unique value',
      (data) => data.cached(authorPolicy, { em: data.fork() }).byEmail(`${id}@example.com`),
      { name: 'Alex' },
    ],
    ['of a query', (data) => data.cached(countBooks, { em: data.fork() }).get({}), { books: 0 }],
  ]
  // SQLite has one connection: what the read waits for may wait for the transaction.
  const expectFork = (read: Promise<unknown>, gives: unknown) =>
    dialect === 'sqlite'
      ? expect(read).rejects.toMatchObject({
          code: 'TRANSACTION_FORK',
          message: expect.stringContaining('a cached read went past it'),
        })
      : expect(read).resolves.toMatchObject(gives as object)

  test.each(reads)('is refused on SQLite at once, as the first read: %s', async (_what, read, gives) => {
    const { data } = access
    await data.unitOfWork(async ({ em }) => {
      await em.count(Author)
      await expectFork(read(data), gives)
    })
    await data.orm.em.getConnection().transactional(async () => expectFork(read(data), gives))
  })

  test('is refused on SQLite where the same is being read outside: it would wait for who waits for it', async () => {
    const { data } = access
    await data.cached(Author).get(randomUUID())
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>()
    const unit = data.unitOfWork(async ({ em }) => {
      await em.count(Author)
      begin()
      await expect.poll(() => data.cached(Author).stats().misses).toBe(2)
      await expectFork(data.cached(Author, { em: data.fork() }).get(id), { name: 'Alex' })
    })
    await begun
    const outside = data.cached(Author).get(id)
    await unit
    expect(await outside).toMatchObject({ name: 'Alex' })
  })

  test('is no fork any more when the transaction has ended, nor without `em`', async () => {
    const { data } = access
    await data.unitOfWork(async ({ em, afterCommit }) => {
      await em.count(Author)
      expect(await data.cached(Author).get(id)).toMatchObject({ name: 'Alex' })
      afterCommit(async () => void (await data.cached(Author, { em: data.fork() }).getOrFail(id)))
    })
    expect(data.cached(Author).stats()).toMatchObject({ bypasses: 1, misses: 1 })
  })
})
