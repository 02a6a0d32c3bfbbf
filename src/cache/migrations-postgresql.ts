import type { MigrationObject } from '@mikro-orm/core'
import { Migration } from '@mikro-orm/migrations'

class CreateCacheInvalidations extends Migration {
  override up(): void {
    // Rows live for milliseconds: without an early vacuum the sweeps would read their remains.
    this.addSql(`create table "cache_invalidations" (
      "id" uuid not null, "space" text not null, "keys" text not null, "created_at" timestamptz(3) not null,
      primary key ("id")
    ) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000)`)
    this.addSql('create index "cache_invalidations_created_at_index" on "cache_invalidations" ("created_at")')
  }

  override down(): void {
    this.addSql('drop table "cache_invalidations"')
  }
}

/** The cache's table on PostgreSQL. */
export const cacheMigrationsPostgresql: readonly MigrationObject[] = [
  { name: 'data-access-cache-001-invalidations', class: CreateCacheInvalidations },
]
