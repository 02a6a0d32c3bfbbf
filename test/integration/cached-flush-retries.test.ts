import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { Author, authorPolicy, Book, bookPolicy, booksOf } from '../support/cache-entities.ts'
import { openCachedAccess } from '../support/cached-access.ts'
import { dialects, type TestDialect } from '../support/databases.ts'

const closing: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

/** Two books, on which queries depend by values: a flush reads these before it changes them. */
async function openBooks(dialect: TestDialect) {
  const caches = [authorPolicy, bookPolicy, booksOf] as never
  const { data, close } = await openCachedAccess(dialect, 'memory', { entities: [Author, Book], caches })
  closing.push(close)
  const ids = await data.unitOfWork(async ({ em }) => {
    const author = em.create(Author, { email: 'alex@innovateai.dev', name: 'Alex' } as never) as Author
    return [1, 2].map((edition) => (em.create(Book, { author: author.id, title: 'title', edition } as never) as Book).id)
  })
  return { data, ids: ids as [string, string] }
}

const outcome = (work: Promise<unknown>) => work.then(() => 'ok', String)

test.each(dialects)('a flush on %s that reads what rows had tells of the end of its transaction', async (dialect) => {
  const { data, ids } = await openBooks(dialect)
  const ended = Promise.withResolvers<void>()
  const late = await data.unitOfWork(async ({ em }) => {
    const book = await em.findOneOrFail(Book, ids[0])
    const flushed = ended.promise.then(() => {
      book.edition = 5
      return em.flush()
    })
    return [flushed.catch((error) => error)]
  })
  ended.resolve()
  expect(await late[0]).toMatchObject({ name: 'DataAccessError', code: 'TRANSACTION_ENDED' })
})

// On SQLite a unit of work has the write lock from its beginning.
test.each(['repeatable read', 'serializable'] as const)(
  'a unit of work on PostgreSQL in %s that reads what a row had, which somebody else has changed, runs again',
  async (isolation) => {
    const { data, ids } = await openBooks('postgresql')
    const tries: number[] = []
    const work = data.unitOfWork(
      async ({ em, attempt }) => {
        tries.push(attempt)
        const book = await em.findOneOrFail(Book, ids[0])
        if (attempt === 1) await data.fork().nativeUpdate(Book, { id: ids[0] }, { title: 'other' })
        book.edition = 7
      },
      { isolation },
    )
    expect([await outcome(work), tries]).toEqual(['ok', [1, 2]])
    expect(await data.fork().findOneOrFail(Book, ids[0])).toMatchObject({ title: 'other', edition: 7 })
  },
)

test('units of work on PostgreSQL whose reads of what rows had meet in a deadlock run again', { timeout: 30_000 }, async () => {
  const { data, ids } = await openBooks('postgresql')
  const tries: number[] = []
  const both = (order: readonly string[]) =>
    data.unitOfWork(async ({ em, attempt }) => {
      tries.push(attempt)
      for (const id of order) {
        ;(await em.findOneOrFail(Book, id)).edition += 10
        await em.flush()
        if (attempt === 1) await delay(200)
      }
    })
  expect(await Promise.all([outcome(both(ids)), outcome(both(ids.toReversed()))])).toEqual(['ok', 'ok'])
  expect(tries.toSorted()).toEqual([1, 1, 2])
})
