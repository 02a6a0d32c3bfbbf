import { type EntityManager, wrap } from '@mikro-orm/core'
import { describe, expect, it } from 'vitest'
import { dialects } from '../support/databases.ts'
import { Author, Book, Page, Tag } from '../support/library-entities.ts'
import { libraryGround } from '../support/library-ground.ts'
import { storedNotes } from '../support/notes-access.ts'
import { NoteTagged } from '../support/notes-module.ts'

describe.each(dialects)('entities of an outer unit with which a nested one works, on %s', (dialect) => {
  const ground = libraryGround(dialect)
  const { failing } = ground

  const books = async () => {
    const all = await ground.data.fork().findAll(Book, { orderBy: { id: 'asc' } })
    return all.map(({ id, title, author }) => `${id} ${title} of ${author?.id ?? 'none'}`)
  }
  const unchanged = ['b0 b0 of a0', 'b1 b1 of a0']

  it.each(['loaded', 'not loaded'])('get no item that a rolled-back unit added, %s, and did not flush', async (how) => {
    await ground.data.unitOfWork(async ({ em }) => {
      const author = await em.findOneOrFail(Author, 'a1', how === 'loaded' ? { populate: ['books'] } : {})
      await failing(async (inner) => {
        const own = await inner.findOneOrFail(Author, 'a1')
        own.books.add(await inner.findOneOrFail(Book, 'b0'))
        own.books.add(inner.create(Book, { id: 'new', title: 'new' }))
        inner.create(Book, { id: 'other', title: 'other', author: own })
      })
      expect(author.books.getItems(false)).toHaveLength(0)
    })
    expect(await books()).toEqual(unchanged)
  })

  it('lose no row that only a rolled-back unit deep inside took out of its collection', async () => {
    await ground.data.unitOfWork(async ({ em }) => {
      await em.findOneOrFail(Author, 'a0')
      await ground.data.unitOfWork(() =>
        failing(async (inner) => {
          const author = await inner.findOneOrFail(Author, 'a0', { populate: ['pages'] })
          author.pages.remove(author.pages[0] as Page)
        }),
      )
    })
    expect(await ground.data.fork().count(Page)).toBe(2)
  })

  it.each(['failed', 'was part of another that failed'])('are theirs again after being removed by one that %s', async (how) => {
    await ground.data.unitOfWork(async ({ em }) => {
      let book: Book | undefined
      const removes = async (inner: EntityManager) => {
        book = await inner.findOneOrFail(Book, 'b1')
        const made = inner.create(Page, { id: 9, text: 'made and removed' })
        await inner.flush()
        await inner.remove([made, book]).flush()
      }
      await failing((inner) => (how === 'failed' ? removes(inner) : ground.data.unitOfWork(({ em: deep }) => removes(deep))))
      Object.assign(book as unknown as Book, { title: 'edited', author: em.getReference(Author, 'a1') })
    })
    expect(await books()).toEqual(['b0 b0 of a0', 'b1 edited of a1'])
  })

  it('are loaded and changed in the nested unit, which is kept', async () => {
    await ground.data.unitOfWork(async ({ em }) => {
      const [first, second] = [await em.findOneOrFail(Author, 'a0'), await em.findOneOrFail(Author, 'a1')]
      const book = await em.findOneOrFail(Book, 'b0')
      await ground.data.unitOfWork(async () => {
        second.books.add(book)
        // Would be a flush of the outer `em`, and be refused.
        await first.books.loadItems()
        second.name = 'edited'
        await wrap(first).init()
      })
    })
    expect(await books()).toEqual(['b0 b0 of a1', 'b1 b1 of a0'])
  })

  it('save what the nested unit changed in their items, with its event and when it reads them again', async () => {
    await ground.data.unitOfWork(async ({ em }) => {
      await em.findOneOrFail(Author, 'a0')
      await ground.data.unitOfWork(async ({ em: inner, record }) => {
        const author = await inner.findOneOrFail(Author, 'a0')
        author.books.remove((await author.books.loadItems()).filter(({ id }) => id === 'b1'))
        record(NoteTagged, 'b1', 'withdrawn')
        await inner.find(Book, {})
      })
    })
    expect([await books(), (await storedNotes(ground.data)).events]).toEqual([['b0 b0 of a0', 'b1 b1 of none'], ['withdrawn']])
  })

  it('save what the nested unit changed in their items when that flushes', async () => {
    await ground.data.unitOfWork(async ({ em }) => {
      await em.findOneOrFail(Author, 'a0')
      await ground.data.unitOfWork(async ({ em: inner }) => {
        const author = await inner.findOneOrFail(Author, 'a0')
        const items = await author.books.loadItems()
        author.books.remove(items.filter(({ id }) => id === 'b1'))
        await inner.flush()
        expect(await inner.fork({ keepTransactionContext: true }).count(Book, { author: null })).toBe(1)
      })
    })
  })

  it('load for another branch of the outer unit as before, whether the nested one ends first or not', async () => {
    await ground.data.unitOfWork(async ({ em }) => {
      const author = await em.findOneOrFail(Author, 'a0')
      const [open, end] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
      const nested = failing(async () => {
        open.resolve()
        await end.promise
      })
      await open.promise
      const page = (await author.pages.loadItems()).find(({ id }) => id === 1)
      const loading = author.books.loadItems()
      end.resolve()
      const [items] = await Promise.all([loading, nested])
      for (const item of [...items, page])
        expect(em.getUnitOfWork().getById(item?.constructor as never, item?.id as never)).toBe(item)
      for (const book of items) book.title = 'edited'
      if (page !== undefined) page.text = 'edited'
    })
    expect(await books()).toEqual(['b0 edited of a0', 'b1 edited of a0'])
    expect(await ground.data.fork().count(Page, { text: 'edited' })).toBe(1)
  })

  it.each(['kept', 'rolled back'])(
    'belong to the outer unit again after the nested one was %s, also when that cleared its `em`',
    async (how) => {
      await ground.data.unitOfWork(async ({ em }) => {
        const author = await em.findOneOrFail(Author, 'a0')
        const work = async (inner: EntityManager) => {
          author.name = 'nested'
          await inner.flush()
          inner.clear()
        }
        await (how === 'kept' ? ground.data.unitOfWork((unit) => work(unit.em)) : failing(work))
        author.books.remove((await author.books.loadItems())[1] as Book)
        author.books.add(em.create(Book, { id: 'new', title: 'new' }))
      })
      expect(await books()).toEqual(['b0 b0 of a0', 'b1 b1 of none', 'new new of a0'])
      expect((await ground.data.fork().findOneOrFail(Author, 'a0')).name).toBe(how === 'kept' ? 'nested' : 'a0')
    },
  )

  it('lose what is taken out of a relation of many to many after a rollback, also when another is loaded again', async () => {
    await ground.data.unitOfWork(async ({ em }) => {
      const tag = em.create(Tag, { id: 't0', label: 't0' })
      for (const author of await em.findAll(Author)) author.tags.add(tag)
    })
    await ground.data.unitOfWork(async ({ em }) => {
      const first = await em.findOneOrFail(Author, 'a0', { populate: ['tags'] })
      await failing(async () => {})
      const second = await em.findOneOrFail(Author, 'a1', { populate: ['tags'] })
      second.tags.removeAll()
      await first.tags.init()
    })
    expect((await ground.data.fork().findOneOrFail(Author, 'a1', { populate: ['tags'] })).tags).toHaveLength(0)
  })

  it('are joined by what a rolled-back unit had loaded, which the outer one may go on to change', async () => {
    await ground.data.unitOfWork(async ({ em }) => {
      em.addFilter({ name: 'first', cond: { id: 'b0' }, entity: Book })
      const held: Book[] = []
      await failing(async (inner) => {
        held.push(...(await inner.find(Book, {}, { orderBy: { id: 'asc' }, filters: false })))
        for (const book of held) Object.assign(book, { title: 'never', author: null })
        await inner.flush()
      })
      expect(held.map(({ id, title, author }) => `${id} ${title} of ${author?.id}`)).toEqual(unchanged)
      expect(await em.findOneOrFail(Book, 'b1', { filters: false })).toBe(held[1])
      if (held[1] !== undefined) held[1].title = 'edited'
    })
    expect(await books()).toEqual(['b0 b0 of a0', 'b1 edited of a0'])
  })

  it('are not joined by what a rolled-back unit inserted without entities', async () => {
    await ground.data.unitOfWork(async ({ em }) => {
      await failing(async (inner) => {
        await inner.insert(Book, { id: 'new', title: 'new' })
        ;(await inner.findOneOrFail(Book, 'new')).title = 'never'
      })
      expect(await em.findOne(Book, 'new')).toBe(null)
    })
    expect(await books()).toEqual(unchanged)
  })
})
