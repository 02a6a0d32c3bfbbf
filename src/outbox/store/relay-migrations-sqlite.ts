import type { MigrationObject } from '@mikro-orm/core'
import { Migration } from '@mikro-orm/migrations'
import { bucketCount } from '../event/ordering-key.ts'

class CreateRelayTables extends Migration {
  override up(): void {
    this.addSql(`create table \`outbox_leases\` (
      \`bucket\` integer not null primary key, \`owner\` text null, \`epoch\` bigint not null default 0, \`leased_until\` datetime null
    )`)
    this.addSql(`insert into \`outbox_leases\` (\`bucket\`)
      with recursive buckets(bucket) as (select 0 union all select bucket + 1 from buckets where bucket < ${bucketCount - 1})
      select bucket from buckets`)
    this.addSql(`create table \`outbox_relays\` (
      \`id\` text not null primary key, \`name\` text not null, \`publisher\` text not null,
      \`started_at\` datetime not null, \`expires_at\` datetime not null
    )`)
    this.addSql(`create table \`outbox_progress\` (
      \`relay\` text not null, \`generation\` integer not null default 0, \`in_flight\` text null,
      \`redrives\` integer not null default 0, \`marks\` bigint not null default 0,
      primary key (\`relay\`, \`generation\`)
    )`)
    this.addSql(`create table \`outbox_failures\` (
      \`event_id\` text not null, \`attempt\` integer not null, \`failed_at\` datetime not null, \`error\` text not null,
      primary key (\`event_id\`, \`attempt\`)
    )`)
    this.addSql(`create table \`outbox_dead_letters\` (
      \`id\` text not null primary key,
      \`event_type\` text not null,
      \`aggregate_type\` text not null,
      \`aggregate_id\` text not null,
      \`payload\` text not null,
      \`headers\` text not null,
      \`sequence\` bigint not null,
      \`ordering_key\` text null,
      \`bucket\` integer not null,
      \`schema_version\` integer not null,
      \`created_at\` datetime not null,
      \`attempts\` integer not null,
      \`reason\` text not null,
      \`error\` text not null,
      \`history\` text not null,
      \`blocks_key\` integer not null,
      \`dead_at\` datetime not null
    )`)
    this.addSql('create index `outbox_dead_letters_blocking_index` on `outbox_dead_letters` (`bucket`) where blocks_key')
    this.addSql('create index `outbox_dead_letters_dead_at_index` on `outbox_dead_letters` (`dead_at`)')
  }

  override down(): void {
    for (const table of ['outbox_dead_letters', 'outbox_failures', 'outbox_progress', 'outbox_relays', 'outbox_leases']) {
      this.addSql(`drop table \`${table}\``)
    }
  }
}

class AddRelayProgress extends Migration {
  override up(): void {
    this.addSql('alter table `outbox_relays` add column `rates` text null')
  }

  override down(): void {
    this.addSql('alter table `outbox_relays` drop column `rates`')
  }
}

/** Changes nothing here: SQLite has no functions to keep, and both dialects have the same steps, so that `migrate()` tells the same. */
class AddFetch extends Migration {
  override up(): void {}

  override down(): void {}
}

/** The relay's own tables on SQLite. */
export const relayMigrationsSqlite: readonly MigrationObject[] = [
  { name: 'data-access-002-outbox-relay', class: CreateRelayTables },
  { name: 'data-access-003-relay-progress', class: AddRelayProgress },
  { name: 'data-access-004-fetch', class: AddFetch },
]
