import { randomUUID } from 'node:crypto'
import { RequestContext } from '@mikro-orm/core'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { DataAccess } from '../../src/data-access.ts'
import { runSql } from '../../src/database/sql.ts'
import type { UnitOfWorkContext } from '../../src/unit-of-work/unit-of-work.ts'
import { Author, authorPolicy, Book, countBooks } from '../support/cache-entities.ts'
import { cacheCombinations } from '../support/cache-ground.ts'
import { type CachedAccess, openCachedAccess } from '../support/cached-access.ts'

describe.each(cacheCombinations)('work after the commit of its unit, on $dialect with the $store store', ({ dialect, store }) => {
  let access: CachedAccess
  let data: DataAccess
  let id = ''
  beforeEach(async () => {
    id = randomUUID()
    access = await openCachedAccess(dialect, store, { entities: [Author, Book], caches: [authorPolicy, countBooks] })
    data = access.data
    await access.add([Author, { id, email: `${id}@example.com`, name: 'Alex' }])
  })
  afterEach(() => access.close())

  /** Does work in the async context of a unit that is over, as a timer or a subscriber does that was made in it. */
  const outliving = async <Result>(work: () => Promise<Result>, nested = false): Promise<Result> => {
    let late: Promise<Result> | undefined
    const over = Promise.withResolvers<void>()
    const begin = async ({ em }: UnitOfWorkContext) => {
      await em.count(Author)
      late = over.promise.then(work)
    }
    await data.unitOfWork(nested ? () => data.unitOfWork(begin) : begin)
    over.resolve()
    return late as Promise<Result>
  }

  test.each([false, true])('a commit hook reads what its unit has changed (nested: %s)', async (nested) => {
    const email = `${id}@example.com`
    await data.cached(Author).get(id)
    await data.cached(authorPolicy).byEmail(email)
    await data.cached(countBooks).get({})
    const { hits } = data.cached(Author).stats()
    expect((await data.cached(Author).get(id))?.name).toBe('Alex')
    expect(data.cached(Author).stats().hits).toBe(hits + 1)
    const told: unknown[] = []
    const change = async ({ em, afterCommit }: UnitOfWorkContext) => {
      ;(await em.findOneOrFail(Author, id)).name = 'new'
      em.create(Book, { author: id, title: 'A', edition: 1 })
      afterCommit(async () => {
        told.push((await data.cached(Author).get(id))?.name, (await data.cached(authorPolicy).byEmail(email))?.name)
        told.push((await data.cached(countBooks).get({})).books)
      })
    }
    await data.unitOfWork((unit) => (nested ? data.unitOfWork(change) : change(unit)))
    expect(told).toEqual(['new', 'new', 1])
  })

  const reads: readonly (readonly [what: string, read: () => Promise<unknown>, gives: unknown])[] = [
    ['by id', () => data.cached(Author).get(id), { name: 'Alex' }],
    ['of several', () => data.cached(Author).getMany([id]), [{ name: 'Alex' }]],
    ['by a unique value', () => data.cached(authorPolicy).byEmail(`${id}@example.com`), { name: 'Alex' }],
    ['of a query', () => data.cached(countBooks).get({}), { books: 0 }],
    ['through a fork', () => data.cached(Author, { em: data.fork() }).get(id), { name: 'Alex' }],
    ['in a request', () => RequestContext.create(data.orm.em, () => data.cached(Author).get(id)), { name: 'Alex' }],
  ]
  test.each(reads)('reads through the cache once that has committed: %s', async (_what, read, gives) => {
    for (const nested of [false, true]) {
      for (let turn = 1; turn <= 2; turn++) expect(await outliving(read, nested)).toMatchObject(gives as object)
    }
    expect(data.cached(Author).stats().bypasses + data.cached(countBooks).stats().bypasses).toBe(0)
  })

  test('expires by hand what this library did not see change', async () => {
    const rename = (name: string) => runSql(data.fork(), 'update authors set name = ? where id = ?', [name, id])
    const expire: readonly (() => Promise<unknown>)[] = [
      () => data.cached(Author).invalidate(id),
      () => data.cached(Author).invalidateAll(),
    ]
    for (const [index, each] of expire.entries()) {
      await data.cached(Author).get(id)
      await rename(`${index}`)
      await outliving(each)
      expect((await data.cached(Author).get(id))?.name).toBe(`${index}`)
    }
    await outliving(() => data.cached(countBooks).invalidate({}))
  })

  test('is refused where that was rolled back, and inside a unit reads in it', async () => {
    const over = Promise.withResolvers<void>()
    let late: Promise<unknown> | undefined
    const unit = data.unitOfWork(async ({ em }) => {
      await em.count(Author)
      late = over.promise.then(() => data.cached(Author).get(id))
      throw new Error('no')
    })
    await expect(unit).rejects.toThrow('no')
    over.resolve()
    await expect(late).rejects.toMatchObject({ code: 'TRANSACTION_ENDED' })
    const inUnit = () =>
      data.unitOfWork(async ({ em }) => {
        ;(await em.findOneOrFail(Author, id)).name = 'its own'
        await em.flush()
        return data.cached(Author).get(id)
      })
    expect(await outliving(inUnit)).toMatchObject({ name: 'its own' })
    expect(data.cached(Author).stats().bypasses).toBeGreaterThan(0)
  })
})
