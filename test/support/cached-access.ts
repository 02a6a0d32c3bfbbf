import { randomUUID } from 'node:crypto'
import { inject } from 'vitest'
import { memoryCache } from '../../src/cache/cache-choice.ts'
import { redisCache } from '../../src/cache/redis/redis-cache.ts'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { type Logger, silentLogger } from '../../src/kernel/logger.ts'
import type { DataModule } from '../../src/module.ts'
import type { StoreName } from './cache-ground.ts'
import { openTestDatabase, type TestDatabase, type TestDialect } from './databases.ts'

/** A data access with a cache, on a database of its own, that knows one module. */
export interface CachedAccess {
  readonly data: DataAccess
  readonly database: TestDatabase
  /** Commits rows, in order. */
  add(...rows: readonly (readonly [entity: new () => object, values: object])[]): Promise<void>
  close(): Promise<void>
}

/** A choice of cache that other tests do not share. */
export function cacheOf(store: StoreName, prefix = `test-${randomUUID().slice(0, 8)}:`) {
  return store === 'memory'
    ? memoryCache({ singleProcess: true })
    : redisCache({ url: inject('redisUrl'), prefix, timeoutMs: 5000 })
}

export async function openCachedAccess(
  dialect: TestDialect,
  store: StoreName,
  module: Omit<DataModule, 'name'>,
  logger: Logger = silentLogger,
): Promise<CachedAccess> {
  const database = await openTestDatabase(dialect)
  const data = await createDataAccess({
    modules: [{ name: 'test', ...module }],
    database: { url: database.url },
    cache: cacheOf(store),
    logger,
  })
  await data.migrate()
  await data.orm.schema.update()
  return {
    data,
    database,
    add: async (...rows) => {
      for (const [entity, values] of rows) {
        await data.unitOfWork(async ({ em }) => void em.create(entity, values as never))
      }
    },
    close: async () => {
      await data.close()
      await database.close()
    },
  }
}
