import { afterEach, describe, expect, test } from 'vitest'
import { type AdoptedOrm, openAdoptedOrm } from '../support/adopted-access.ts'
import { Author, Book, booksOf } from '../support/cache-entities.ts'
import { cacheCombinations } from '../support/cache-ground.ts'

// With `ignoreUndefinedInQuery` MikroORM leaves the condition out, without it takes the value for null.
const combinations = cacheCombinations.flatMap((each) => [true, false].map((ignored) => ({ ...each, ignored })))

describe.each(combinations)(
  'a cached query whose value is undefined, ignored: $ignored, on $dialect with the $store store',
  ({ dialect, store, ignored }) => {
    let adopted: AdoptedOrm | undefined
    afterEach(() => adopted?.close())

    test('gives what the query gives, before and after each change', async () => {
      adopted = await openAdoptedOrm(dialect, { ignoreUndefinedInQuery: ignored })
      const data = await adopted.openAccess(store)
      const books = data.cached(booksOf)
      const undefinedAuthor = { authorId: undefined as unknown as string }
      for (let edition = 1; edition <= 3; edition++) {
        await data.unitOfWork(async ({ em }) => {
          const author = em.create(Author, { email: `${edition}@example.com`, name: 'writer' })
          em.create(Book, { author, title: 'title', edition })
        })
        const expected = (await booksOf.run(data.fork(), undefinedAuthor)).map((book) => book.edition)
        for (let turn = 1; turn <= 2; turn++) {
          expect((await books.get(undefinedAuthor)).map((book) => book.edition)).toEqual(expected)
        }
      }
      expect(books.stats()).toMatchObject({ requests: 0, bypasses: 6 })
    })
  },
)
