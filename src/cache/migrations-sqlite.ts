import type { MigrationObject } from '@mikro-orm/core'
import { Migration } from '@mikro-orm/migrations'

class CreateCacheInvalidations extends Migration {
  override up(): void {
    this.addSql(`create table \`cache_invalidations\` (
      \`id\` text not null primary key, \`space\` text not null, \`keys\` text not null, \`created_at\` datetime not null
    )`)
    this.addSql('create index `cache_invalidations_created_at_index` on `cache_invalidations` (`created_at`)')
  }

  override down(): void {
    this.addSql('drop table `cache_invalidations`')
  }
}

/** The cache's table on SQLite. */
export const cacheMigrationsSqlite: readonly MigrationObject[] = [
  { name: 'data-access-cache-001-invalidations', class: CreateCacheInvalidations },
]
