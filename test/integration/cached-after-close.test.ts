import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { DataAccess } from '../../src/data-access.ts'
import { type AdoptedOrm, openAdoptedOrm } from '../support/adopted-access.ts'
import { Author, authorPolicy, booksOf } from '../support/cache-entities.ts'
import { cacheCombinations } from '../support/cache-ground.ts'

// The ORM is the application's and stays open, and so would its readers.
describe.each(cacheCombinations)(
  'cached reads after their data access, on $dialect with the $store store',
  ({ dialect, store }) => {
    let adopted: AdoptedOrm
    let first: DataAccess
    let author: Author
    beforeEach(async () => {
      adopted = await openAdoptedOrm(dialect)
      first = await adopted.openAccess(store)
      author = await first.unitOfWork(async ({ em }) => em.create(Author, { email: `${randomUUID()}@example.com`, name: 'old' }))
    })
    afterEach(() => adopted.close())
    const closed = { code: 'CLOSED', message: expect.stringContaining('create a new one') }

    test('reject with CLOSED, whatever they are asked', async () => {
      const [authors, books] = [first.cached(authorPolicy), first.cached(booksOf)]
      const em = first.fork()
      const managed = [first.cached(Author, { em }), first.cached(booksOf, { em })] as const
      await authors.get(author.id)
      await books.get({ authorId: author.id })
      await first.close()
      const asked: readonly (() => Promise<unknown>)[] = [
        () => authors.get(author.id),
        () => authors.get(author.id, { fresh: true }),
        () => authors.getOrFail(author.id),
        () => authors.getMany([author.id]),
        () => authors.byEmail(author.email),
        () => authors.invalidate(author.id),
        () => authors.invalidateAll(),
        () => books.get({ authorId: author.id }),
        () => books.invalidate({ authorId: author.id }),
        () => managed[0].get(author.id),
        () => managed[1].get({ authorId: author.id }),
      ]
      for (const ask of asked) await expect(ask()).rejects.toMatchObject(closed)
      await expect(em.transactional(() => authors.get(author.id))).rejects.toMatchObject(closed)
    })

    test('give way to those of the next one, which no old row reaches', async () => {
      const authors = first.cached(authorPolicy)
      await authors.get(author.id)
      await first.close()
      const second = await adopted.openAccess(store)
      await second.unitOfWork(async ({ em }) => Object.assign(await em.findOneOrFail(Author, author.id), { name: 'new' }))
      expect((await second.cached(authorPolicy).get(author.id))?.name).toBe('new')
      await expect(authors.get(author.id)).rejects.toMatchObject(closed)
    })

    test('end a read that is under way when it closes, with the row or as closed', async () => {
      const reading = first.cached(authorPolicy).get(author.id)
      const [read] = await Promise.allSettled([reading, first.close()])
      if (read.status === 'fulfilled') expect(read.value?.name).toBe('old')
      else expect(read.reason).toMatchObject({ code: 'CLOSED' })
    })
  },
)
