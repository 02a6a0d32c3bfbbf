import { describe, expect, it } from 'vitest'
import { dialects } from '../support/databases.ts'
import { Author, Book } from '../support/library-entities.ts'
import { libraryGround } from '../support/library-ground.ts'

describe.each(dialects)('a one-to-one relation and lazy values after a nested unit was rolled back, on %s', (dialect) => {
  const ground = libraryGround(dialect)
  const { failing } = ground

  const best = async () => {
    const authors = await ground.data.fork().findAll(Author, { orderBy: { id: 'asc' } })
    return authors.map((author) => author.best?.id ?? null)
  }

  it('is what the outer unit has set before', async () => {
    await ground.data.unitOfWork(async ({ em }) => {
      const [author, book] = [await em.findOneOrFail(Author, 'a1'), await em.findOneOrFail(Book, 'b0')]
      author.best = book
      await failing()
      expect([author.best?.id, book.bestOf?.id]).toEqual(['b0', 'a1'])
    })
    expect(await best()).toEqual([null, 'b0'])
  })

  it('is what the outer unit has set before on the side without the column', async () => {
    await ground.data.unitOfWork(async ({ em }) => {
      const [author, book] = [await em.findOneOrFail(Author, 'a1'), await em.findOneOrFail(Book, 'b0')]
      book.bestOf = author
      await failing()
    })
    expect(await best()).toEqual([null, 'b0'])
  })

  it('is null again, where the outer unit has set it so', async () => {
    await ground.data.unitOfWork(async ({ em }) => {
      ;(await em.findOneOrFail(Author, 'a1')).best = await em.findOneOrFail(Book, 'b0')
    })
    await ground.data.unitOfWork(async ({ em }) => {
      const [author, book] = [await em.findOneOrFail(Author, 'a1'), await em.findOneOrFail(Book, 'b0')]
      author.best = null
      await failing()
      expect([author.best, book.bestOf ?? null]).toEqual([null, null])
    })
    expect(await best()).toEqual([null, null])
  })

  it.each([true, false])('is what it was, when the nested unit gave it to another owner, flushed: %s', async (flushed) => {
    await ground.data.unitOfWork(async ({ em }) => {
      ;(await em.findOneOrFail(Author, 'a0')).best = await em.findOneOrFail(Book, 'b0')
    })
    await ground.data.unitOfWork(async ({ em }) => {
      const [first, second] = [await em.findOneOrFail(Author, 'a0'), await em.findOneOrFail(Author, 'a1')]
      const [book, other] = [await em.findOneOrFail(Book, 'b0'), await em.findOneOrFail(Book, 'b1')]
      second.best = other
      await failing(async (inner) => {
        first.best = null
        if (flushed) await inner.flush()
        second.best = book
        if (flushed) await inner.flush()
        first.best = other
        if (flushed) await inner.flush()
      })
      expect([book.bestOf?.id, other.bestOf?.id]).toEqual(['a0', 'a1'])
    })
    expect(await best()).toEqual(['b0', 'b1'])
  })

  it('is what the outer unit has set before, when the nested unit gave it to one that it had loaded itself', async () => {
    await ground.data.unitOfWork(async ({ em }) => {
      const [author, book] = [await em.findOneOrFail(Author, 'a1'), await em.findOneOrFail(Book, 'b0')]
      author.best = book
      await failing(async (inner) => {
        author.best = await inner.findOneOrFail(Book, 'b1')
        ;(await inner.findOneOrFail(Author, 'a0')).best = book
      })
      expect([author.best?.id, book.bestOf?.id]).toEqual(['b0', 'a1'])
    })
    expect(await best()).toEqual([null, 'b0'])
  })

  it('is that of the row, where only the nested unit had loaded it', async () => {
    await ground.data.unitOfWork(async ({ em }) => {
      ;(await em.findOneOrFail(Author, 'a1')).best = await em.findOneOrFail(Book, 'b0')
    })
    await ground.data.unitOfWork(async ({ em }) => {
      const author = await em.findOneOrFail(Author, 'a1')
      let book: Book | undefined
      await failing(async (inner) => {
        book = await inner.findOneOrFail(Book, 'b0')
        book.bestOf = null
        await inner.flush()
      })
      expect(book?.bestOf).toBe(author)
    })
    expect(await best()).toEqual([null, 'b0'])
  })

  it.each([true, false])('lazy values of what the nested unit loaded are not written, flushed: %s', async (flushed) => {
    await ground.data.unitOfWork(async ({ em }) => {
      const book = await em.findOneOrFail(Book, 'b0')
      let author: Author | undefined
      await failing(async (inner) => {
        author = await inner.findOneOrFail(Author, 'a1')
        await author.bio?.load()
        author.bio?.set('never')
        author.motto = 'never'
        if (flushed) await inner.flush()
      })
      expect(await author?.bio?.load()).toBe('good')
      book.title = 'edited'
    })
    const author = await ground.data.fork().findOneOrFail(Author, 'a1', { populate: ['bio', 'motto'] })
    expect([author.bio?.unwrap(), author.motto]).toEqual(['good', 'good'])
  })

  it.each([true, false])(
    'lazy values of what was loaded through an outer entity are not written, flushed: %s',
    async (flushed) => {
      await ground.data.unitOfWork(async ({ em }) => {
        const book = await em.findOneOrFail(Book, 'b0')
        await failing(async (inner) => {
          const author = await inner.findOneOrFail(Author, book.author?.id ?? '')
          await author.bio?.load()
          author.bio?.set('never')
          author.motto = 'never'
          if (flushed) await inner.flush()
        })
      })
      const author = await ground.data.fork().findOneOrFail(Author, 'a0', { populate: ['bio', 'motto'] })
      expect([author.bio?.unwrap(), author.motto]).toEqual(['good', 'good'])
    },
  )
})
