import { type EntityManager, wrap } from '@mikro-orm/core'
import { describe, expect, it } from 'vitest'
import { dialects } from '../support/databases.ts'
import { Author, Board, Book, Line, Page, Shelf, Tag } from '../support/library-entities.ts'
import { libraryGround } from '../support/library-ground.ts'
import { storedNotes } from '../support/notes-access.ts'
import { NoteTagged } from '../support/notes-module.ts'

describe.each(dialects)('what a rolled-back nested unit had loaded, on %s', (dialect) => {
  const ground = libraryGround(dialect)
  const { failing } = ground

  const read = () => ground.data.fork()
  const shelf = () =>
    ground.data.unitOfWork(async ({ em }) => {
      const made = em.create(Shelf, { id: 's0' })
      for (const id of ['x0', 'x1']) em.create(Board, { id, width: 1, depth: 1, shelf: made })
    })

  it.each([true, false])('is one object for each row, where two lead to each other, flushed: %s', async (flushed) => {
    await ground.data.unitOfWork(async ({ em }) => {
      ;(await em.findOneOrFail(Author, 'a1')).best = await em.findOneOrFail(Book, 'b0')
    })
    await ground.data.unitOfWork(async ({ em, record }) => {
      const kept: { book: Book; author: Author }[] = []
      await failing(async (inner) => {
        const book = await inner.findOneOrFail(Book, 'b0', { populate: ['bestOf'] })
        const author = book.bestOf as Author
        kept.push({ book, author })
        author.name = 'never'
        if (flushed) await inner.flush()
      })
      const [{ book, author }] = kept as [(typeof kept)[number]]
      expect([author.name, book.bestOf === author, author.best === book]).toEqual(['a1', true, true])
      author.name = 'edited'
      record(NoteTagged, 'a1', 'edited')
      expect(await em.findOneOrFail(Author, 'a1')).toBe(author)
    })
    expect((await read().findOneOrFail(Author, 'a1')).name).toBe('edited')
    expect((await storedNotes(ground.data)).events).toEqual(['edited'])
  })

  it.each(['found', 'populated'])('stays loaded, where the outer unit has a reference to it, when it was %s', async (how) => {
    await ground.data.unitOfWork(async ({ em }) => {
      const books = await em.findAll(Book)
      await failing(async (inner) => {
        if (how === 'found') await inner.findOneOrFail(Author, 'a0')
        else await inner.populate(books, ['author'])
        for (const { author } of books) Object.assign(author as Author, { name: 'never' })
      })
      for (const book of books) book.title = `by ${book.author?.name}`
    })
    expect((await read().findAll(Book)).map(({ title }) => title)).toEqual(['by a0', 'by a0'])
  })

  it.each([true, false])('stays populated with its own items, as the database has them, flushed: %s', async (flushed) => {
    await ground.data.unitOfWork(async () => {
      let author: Author | undefined
      await failing(async (inner) => {
        author = await inner.findOneOrFail(Author, 'a0', { populate: ['books.lines', 'pages'] })
        author.books.removeAll()
        inner.create(Book, { id: 'new', title: 'new', author })
        if (flushed) await inner.flush()
      })
      for (const book of author?.books ?? []) {
        expect([book.author === author, book.lines.getItems()]).toEqual([true, []])
        book.title = 'edited'
      }
      author?.pages.remove(author.pages[0] as Page)
    })
    expect((await read().find(Book, { author: 'a0' })).map(({ title }) => title)).toEqual(['edited', 'edited'])
    expect(await read().count(Page)).toBe(1)
  })

  it('fails the outer unit, where it cannot be read anew, and the nested one with its own error', async () => {
    const outer = ground.data.unitOfWork(async ({ em }) => {
      await failing(async (inner) => {
        await inner.findOneOrFail(Book, 'b0')
        em.getEventManager().registerSubscriber({ onLoad: () => Promise.reject(new Error('unreadable')) })
      })
      em.create(Tag, { id: 't0', label: 'never' })
    })
    await expect(outer).rejects.toThrow('unreadable')
    expect(await ground.data.orm.em.fork({ freshEventManager: true }).count(Tag)).toBe(0)
  })

  it('has the items of an eager relation once', async () => {
    await shelf()
    await ground.data.unitOfWork(async () => {
      const kept: Board[] = []
      let boards: Iterable<Board> = []
      await failing(async (inner) => {
        boards = (await inner.findOneOrFail(Shelf, 's0')).boards
        kept.push(...boards)
      })
      for (const board of kept) board.width = 5
      for (const board of boards) board.depth = 7
    })
    expect(await read().count(Board, { width: 5, depth: 7 })).toBe(2)
  })

  it('is in the relation that was kept, also of one direction', async () => {
    await shelf()
    await ground.data.unitOfWork(async ({ em }) => {
      const { tags } = await em.findOneOrFail(Shelf, 's0')
      const [first, second] = ['t0', 't1'].map((id) => em.create(Tag, { id, label: id })) as [Tag, Tag]
      await failing(async () => void (await tags.loadItems()))
      tags.add(first)
      await failing(async () => void tags.add(second))
      tags.add(second)
    })
    expect((await read().findOneOrFail(Shelf, 's0', { populate: ['tags'] })).tags).toHaveLength(2)
  })

  it('leads to what it refers to, which the outer unit may load and change', async () => {
    await ground.data.unitOfWork(async ({ em }) => {
      let author = em.getReference(Author, 'a1')
      await failing(async (inner) => {
        author = (await inner.findOneOrFail(Book, 'b0')).author as Author
        inner.getReference(Author, 'a1').name = 'never'
      })
      await wrap(author).init()
      author.name = 'edited'
      expect(await em.findOneOrFail(Author, 'a0')).toBe(author)
    })
    expect((await read().findAll(Author, { orderBy: { id: 'asc' } })).map(({ name }) => name)).toEqual(['edited', 'a1'])
  })

  it.each(['remove', 'orphan removal', 'the key of another'])('is the outer unit’s, after %s', async (how) => {
    await ground.data.unitOfWork(async ({ em }) => void em.create(Line, { book: 'b0', number: 1, text: 'good' }))
    await ground.data.unitOfWork(async ({ em }) => {
      let kept: Page | Line | undefined
      await failing(async (inner) => {
        if (how === 'the key of another') {
          kept = await inner.findOneOrFail(Line, { book: 'b0', number: 1 }, { populate: ['book'] })
          await inner.nativeDelete(Line, {})
          inner.remove(kept.book)
        } else {
          const author = await inner.findOneOrFail(Author, 'a0', { populate: ['pages'] })
          kept = author.pages.getItems().find(({ id }) => id === 1) as Page
          if (how === 'remove') inner.remove(kept)
          else author.pages.remove(kept)
        }
        await inner.flush()
      })
      Object.assign(kept as unknown as Page, { text: 'edited' })
      em.persist(kept as unknown as Page)
    })
    expect((await read().count(Line, { text: 'edited' })) + (await read().count(Page, { text: 'edited' }))).toBe(1)
  })

  it.each(['made anew', 'given'])(
    'is new, where there was no row of it before the unit’s upsert, of an entity %s',
    async (how) => {
      await ground.data.unitOfWork(async ({ em }) => {
        let tag = em.create(Tag, { id: 't0', label: 'good' }, { persist: false })
        await failing(async (inner) => {
          if (how === 'given') await inner.upsert(tag)
          else tag = await inner.upsert(Tag, { id: 't0', label: 'good' })
        })
        em.persist(tag)
      })
      expect(await read().count(Tag)).toBe(1)
    },
  )
})

describe.each(dialects)('what an outer unit had loaded, after a nested one was rolled back, on %s', (dialect) => {
  const ground = libraryGround(dialect)
  const { failing } = ground
  const populated = {
    limit: { populate: ['books'], populateHints: { books: { limit: 1 } }, orderBy: { books: { id: 'asc' } } },
    matching: {},
    part: {},
  } as const

  it.each(['limit', 'matching', 'part'] as const)('stays a part of a relation: by %s', async (how) => {
    await ground.data.unitOfWork(async ({ em }) => {
      const [first, other] = (await em.findAll(Book, { orderBy: { id: 'asc' } })) as [Book, Book]
      const author = await em.findOneOrFail(Author, 'a0', populated[how] as never)
      if (how === 'matching') await author.books.matching({ where: { id: 'b0' }, store: true })
      if (how === 'part') await author.books.init({ where: { id: 'b0' } })
      await failing(async (inner) => {
        other.title = 'never'
        inner.create(Book, { id: 'new', title: 'new', author })
        await inner.flush()
      })
      expect([author.books.getItems(), author.books.isPartial(), other.title]).toEqual([[first], how !== 'matching', other.id])
      if (how !== 'part') expect(() => author.books.removeAll()).toThrow('readonly')
    })
    expect((await ground.data.fork().find(Book, { author: 'a0' })).map(({ id }) => id).sort()).toEqual(['b0', 'b1'])
  })

  it.each(['loaded before', 'loaded meanwhile'])('stays populated, when it was populated meanwhile and %s', async (when) => {
    await ground.data.unitOfWork(async ({ em }) => {
      if (when === 'loaded before') await em.findAll(Author)
      const [open, end] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
      const nested = failing(async () => {
        open.resolve()
        await end.promise
      })
      await open.promise
      const authors = await em.findAll(Author, { populate: ['books'], orderBy: { id: 'asc' } })
      end.resolve()
      await nested
      expect(authors.map(({ books }) => books.length)).toEqual([2, 0])
      for (const book of authors[0]?.books ?? []) book.title = 'edited'
    })
    expect(await ground.data.fork().count(Book, { title: 'edited' })).toBe(2)
  })

  it.each(['by its entity manager', 'as an orphan'])('is removed, when it was removed meanwhile %s', async (how) => {
    await ground.data.unitOfWork(async ({ em }) => {
      const author = await em.findOneOrFail(Author, 'a0', { populate: ['books', 'pages'] })
      const [open, end] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
      const nested = failing(async () => {
        open.resolve()
        await end.promise
      })
      await open.promise
      if (how === 'as an orphan') author.pages.remove(author.pages[0] as Page)
      else em.remove(author.books[0] as Book)
      end.resolve()
      await nested
    })
    const em: EntityManager = ground.data.fork()
    expect([await em.count(Book), await em.count(Page)]).toEqual(how === 'as an orphan' ? [2, 1] : [1, 2])
  })

  it('has what the database computes as it was', async () => {
    await ground.data.unitOfWork(async ({ em }) => {
      const board = em.create(Board, { id: 'x', width: 1, depth: 1, shelf: em.create(Shelf, { id: 's' }) })
      await em.flush()
      await em.refresh(board)
      board.depth = 2
      await em.flush()
      await failing(async (inner) => {
        await inner.nativeUpdate(Board, 'x', { width: 2 })
        await inner.refresh(board)
      })
      expect(board.label).toBe('w1')
    })
  })
})
