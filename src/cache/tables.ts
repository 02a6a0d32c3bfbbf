import { CacheInvalidation } from './invalidation-row.ts'
import { cacheMigrationsPostgresql } from './migrations-postgresql.ts'
import { cacheMigrationsSqlite } from './migrations-sqlite.ts'

/** The cache's share of the database: its entity, its migrations, and the name of its table. */
export const cacheTables = {
  entities: [CacheInvalidation],
  migrations: { postgresql: [...cacheMigrationsPostgresql], sqlite: [...cacheMigrationsSqlite] },
  names: ['cache_invalidations'],
} as const
