import type { EntityManager } from '@mikro-orm/core'
import { afterEach, beforeEach, expect } from 'vitest'
import type { DataAccess } from '../../src/data-access.ts'
import { openTestDatabase, type TestDatabase, type TestDialect } from './databases.ts'
import { Author, Book, openLibrary, Page } from './library-entities.ts'

/** Gives each test a library of its own: two authors, of whom the first has two books and two pages. */
export function libraryGround(dialect: TestDialect) {
  let database: TestDatabase
  let data: DataAccess
  beforeEach(async () => {
    database = await openTestDatabase(dialect)
    data = await openLibrary(database.url)
    await data.unitOfWork(async ({ em }) => {
      for (const id of ['a0', 'a1']) em.create(Author, { id, name: id, bio: 'good', motto: 'good' })
      for (const id of ['b0', 'b1']) em.create(Book, { id, title: id, author: 'a0' })
      for (const id of [1, 2]) em.create(Page, { id, text: `page ${id}`, author: 'a0' })
    })
  })
  afterEach(async () => {
    await data.close()
    await database.close()
  })
  return {
    get data() {
      return data
    },
    /** Runs work in a nested unit that is rolled back. */
    failing: async (work: (em: EntityManager) => Promise<void> = async () => {}) => {
      const nested = data.unitOfWork(async ({ em }) => {
        await work(em)
        throw new Error('only the savepoint')
      })
      await expect(nested).rejects.toThrow('only the savepoint')
    },
  }
}
