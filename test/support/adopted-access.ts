import type { MikroORM, Options } from '@mikro-orm/core'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { Author, authorPolicy, Book, bookPolicy, booksOf } from './cache-entities.ts'
import type { StoreName } from './cache-ground.ts'
import { cacheOf } from './cached-access.ts'
import { openTestDatabase, type TestDialect } from './databases.ts'
import { openOwnOrm } from './own-orm.ts'

/** An application's own ORM on a database of its own, with authors and books, and the means to make data accesses of it. */
export interface AdoptedOrm {
  readonly orm: MikroORM
  /** Makes its next data access; the one before must be closed. */
  openAccess(store: StoreName): Promise<DataAccess>
  close(): Promise<void>
}

/** @param options of the ORM, beside what it needs. */
export async function openAdoptedOrm(dialect: TestDialect, options: Partial<Options> = {}): Promise<AdoptedOrm> {
  const database = await openTestDatabase(dialect)
  const modules = [{ name: 'authors', caches: [authorPolicy, bookPolicy, booksOf] }]
  const orm = await openOwnOrm(database.url, modules, { ...options, entities: [Author, Book] })
  let last: DataAccess | undefined
  return {
    orm,
    openAccess: async (store) => {
      const data = await createDataAccess({ orm, cache: cacheOf(store) })
      last = data
      await data.migrate()
      await orm.schema.update()
      return data
    },
    close: async () => {
      await last?.close()
      await orm.close(true)
      await database.close()
    },
  }
}
