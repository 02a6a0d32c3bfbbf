import type { EntityManager, SqlEntityManager } from '@mikro-orm/sql'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { DataAccess } from '../../src/data-access.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../support/databases.ts'
import { Author, Book, openLibrary, Page } from '../support/library-entities.ts'

describe.each(dialects)('entities of an `em` that a unit has joined, on %s', (dialect) => {
  let database: TestDatabase
  let data: DataAccess
  let em: EntityManager
  let author: Author

  beforeEach(async () => {
    database = await openTestDatabase(dialect)
    data = await openLibrary(database.url)
    await data.unitOfWork(async (unit) => {
      unit.em.create(Author, { id: 'a0', name: 'a0', bio: null })
      for (const id of ['b0', 'b1']) unit.em.create(Book, { id, title: id, author: 'a0' })
      for (const id of [1, 2]) unit.em.create(Page, { id, text: `page ${id}`, author: 'a0' })
    })
    em = data.fork() as SqlEntityManager
    author = await em.findOneOrFail(Author, 'a0')
  })
  afterEach(async () => {
    await data.close()
    await database.close()
  })

  it('load in the transaction of the unit', async () => {
    await data.unitOfWork(
      async (unit) => {
        await unit.em.nativeUpdate(Book, {}, { title: 'edited' })
        const items = await author.books.loadItems()
        expect(items.map(({ title }) => title)).toEqual(['edited', 'edited'])
        author.books.remove(items.filter(({ id }) => id === 'b1'))
        // Would overwrite what it has not saved.
        await unit.em.find(Book, {})
      },
      { em },
    )
    expect((await data.fork().findOneOrFail(Book, 'b1')).author).toBe(null)
    // Afterwards they are again of the `em` that was joined.
    await author.books.loadItems()
    await expect(author.books.loadCount(true)).resolves.toBe(1)
  })

  it('lose what the unit took out of their collections', async () => {
    await data.unitOfWork(
      async () => {
        const pages = await author.pages.loadItems()
        author.pages.remove(pages.filter(({ id }) => id === 1))
      },
      { em },
    )
    expect(await data.fork().findAll(Page)).toMatchObject([{ id: 2 }])
  })

  it('leave nothing to be written of what a rolled-back unit added to them', async () => {
    const unit = data.unitOfWork(
      async ({ em: inner }) => {
        author.books.add(inner.create(Book, { id: 'new', title: 'new' }))
        throw new Error('rolled back')
      },
      { em },
    )
    await expect(unit).rejects.toThrow('rolled back')
    expect([...em.getUnitOfWork().getPersistStack()]).toEqual([])
  })

  it('load outside of it as soon as it has committed, also for a subscriber', async () => {
    const seen: unknown[] = []
    em.getEventManager().registerSubscriber({
      afterTransactionCommit: async () => void seen.push((await author.books.loadItems()).length),
    })
    await data.unitOfWork(async () => void Object.assign(author, { name: 'edited' }), { em })
    expect(seen).toEqual([2])
  })
})
