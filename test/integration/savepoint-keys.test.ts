import { describe, expect, it } from 'vitest'
import { dialects } from '../support/databases.ts'
import { Book, Footnote, Line } from '../support/library-entities.ts'
import { libraryGround } from '../support/library-ground.ts'

describe.each(dialects)('an entity with another one in its key, after a nested unit was rolled back, on %s', (dialect) => {
  const ground = libraryGround(dialect)
  const { failing } = ground

  const lines = async () => (await ground.data.fork().findAll(Line, { orderBy: { number: 'asc' } })).map(({ text }) => text)
  const write = () =>
    ground.data.unitOfWork(async ({ em }) => {
      for (const number of [1, 2]) em.create(Line, { book: 'b0', number, text: `line ${number}` })
    })

  it.each([true, false])('is in the relation again from which the nested unit had removed it, flushed: %s', async (flushed) => {
    await write()
    await ground.data.unitOfWork(async ({ em }) => {
      const book = await em.findOneOrFail(Book, 'b0', { populate: ['lines'] })
      const line = book.lines[0] as Line
      await failing(async (inner) => {
        book.lines.remove(line)
        if (flushed) await inner.flush()
      })
      expect([line.book === book, book.lines.getItems().includes(line), book.lines.length]).toEqual([true, true, 2])
      line.text = 'edited'
    })
    expect(await lines()).toEqual(['edited', 'line 2'])
  })

  it.each([true, false])(
    'is the outer unit’s, where the nested one had loaded it and removed it, flushed: %s',
    async (flushed) => {
      await write()
      await ground.data.unitOfWork(async ({ em }) => {
        const kept: Line[] = []
        await failing(async (inner) => {
          const { lines } = await inner.findOneOrFail(Book, 'b0', { populate: ['lines'] })
          kept.push(...lines)
          lines.removeAll()
          if (flushed) await inner.flush()
        })
        expect(await em.findAll(Line, { orderBy: { number: 'asc' } })).toEqual(kept)
        for (const line of kept) line.text = 'edited'
      })
      expect(await lines()).toEqual(['edited', 'edited'])
    },
  )

  it('leads to the same one, where the nested unit had removed both', async () => {
    await write()
    await ground.data.unitOfWork(async () => {
      const kept: Book[] = []
      await failing(async (inner) => {
        const book = await inner.findOneOrFail(Book, 'b0', { populate: ['lines'] })
        kept.push(book)
        book.lines.removeAll()
        await inner.remove(book).flush()
      })
      for (const book of kept) {
        book.title = 'edited'
        for (const line of book.lines) line.text = `of ${line.book.title}`
      }
    })
    expect(await lines()).toEqual(['of edited', 'of edited'])
    expect(await ground.data.fork().count(Book, { title: 'edited' })).toBe(1)
  })

  it('is the outer unit’s, where the key is all that leads to the other one, which the nested unit had removed', async () => {
    await ground.data.unitOfWork(async ({ em }) => void em.create(Footnote, { book: 'b0', number: 1, text: 'good' }))
    await ground.data.unitOfWork(async ({ em }) => {
      const kept: Footnote[] = []
      await failing(async (inner) => {
        kept.push(await inner.findOneOrFail(Footnote, { book: 'b0', number: 1 }))
        const book = await inner.findOneOrFail(Book, 'b0')
        await inner.nativeDelete(Footnote, {})
        await inner.remove(book).flush()
      })
      expect(await em.findAll(Footnote)).toEqual(kept)
      for (const footnote of kept) footnote.text = 'edited'
    })
    expect((await ground.data.fork().findAll(Footnote)).map(({ text }) => text)).toEqual(['edited'])
  })
})
