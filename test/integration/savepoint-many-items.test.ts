import { Collection } from '@mikro-orm/core'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { dialects } from '../support/databases.ts'
import { Author, Book } from '../support/library-entities.ts'
import { libraryGround } from '../support/library-ground.ts'

describe.each(dialects)('a relation to many to which a rolled-back nested unit had added many, on %s', (dialect) => {
  const ground = libraryGround(dialect)
  const { failing } = ground
  afterEach(() => vi.restoreAllMocks())

  it.each(['was not loaded', 'was loaded meanwhile'])(
    'has its own items, not taken out one by one, where it %s',
    async (when) => {
      const takesOut = vi.spyOn(Collection.prototype, 'removeWithoutPropagation')
      await ground.data.unitOfWork(async ({ em }) => {
        const author = await em.findOneOrFail(Author, 'a0')
        await failing(async (inner) => {
          if (when === 'was loaded meanwhile') await author.books.init()
          const ids = Array.from({ length: 1_000 }, (_, index) => `new${index}`)
          author.books.add(ids.map((id) => inner.create(Book, { id, title: 'new' }, { persist: false })))
        })
        const books = await author.books.loadItems()
        expect(books.map(({ id }) => id).sort()).toEqual(['b0', 'b1'])
        for (const book of books) book.title = 'edited'
      })
      expect((await ground.data.fork().findAll(Book)).map(({ title }) => title)).toEqual(['edited', 'edited'])
      expect(takesOut.mock.calls.length).toBeLessThan(1_000)
    },
  )
})
