import type { EntityManager, SqlEntityManager } from '@mikro-orm/sql'
import { beforeEach, describe, expect, it } from 'vitest'
import { dialects } from '../support/databases.ts'
import { Author, Book, Page } from '../support/library-entities.ts'
import { libraryGround } from '../support/library-ground.ts'

describe.each(dialects)('entities of an `em` that a unit has joined, on %s', (dialect) => {
  const ground = libraryGround(dialect)
  let em: EntityManager
  let author: Author
  beforeEach(async () => {
    em = ground.data.fork() as SqlEntityManager
    author = await em.findOneOrFail(Author, 'a0')
  })

  it('load in the transaction of the unit', async () => {
    await ground.data.unitOfWork(
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
    expect((await ground.data.fork().findOneOrFail(Book, 'b1')).author).toBe(null)
    // Afterwards they are again of the `em` that was joined.
    await author.books.loadItems()
    await expect(author.books.loadCount(true)).resolves.toBe(1)
  })

  it('lose what the unit took out of their collections', async () => {
    await ground.data.unitOfWork(
      async () => {
        const pages = await author.pages.loadItems()
        author.pages.remove(pages.filter(({ id }) => id === 1))
      },
      { em },
    )
    expect(await ground.data.fork().findAll(Page)).toMatchObject([{ id: 2 }])
  })

  it('leave nothing to be written of what a rolled-back unit added to them', async () => {
    const unit = ground.data.unitOfWork(
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
    await ground.data.unitOfWork(async () => void Object.assign(author, { name: 'edited' }), { em })
    expect(seen).toEqual([2])
  })
})
