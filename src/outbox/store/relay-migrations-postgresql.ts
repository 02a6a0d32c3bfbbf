import type { MigrationObject } from '@mikro-orm/core'
import { Migration } from '@mikro-orm/migrations'
import { bucketCount } from '../event/ordering-key.ts'

class CreateRelayTables extends Migration {
  override up(): void {
    this.addSql(`create table "outbox_leases" (
      "bucket" int not null, "owner" uuid null, "epoch" bigint not null default 0, "leased_until" timestamptz(3) null,
      primary key ("bucket")
    )`)
    this.addSql(`insert into "outbox_leases" ("bucket") select generate_series(0, ${bucketCount - 1})`)
    this.addSql(`create table "outbox_relays" (
      "id" uuid not null, "name" varchar(100) not null, "publisher" varchar(100) not null,
      "started_at" timestamptz(3) not null, "expires_at" timestamptz(3) not null, "in_flight" json null,
      "redrives" int not null default 0,
      primary key ("id")
    )`)
    this.addSql(`create table "outbox_failures" (
      "event_id" uuid not null, "attempt" int not null, "failed_at" timestamptz(3) not null, "error" text not null,
      primary key ("event_id", "attempt")
    )`)
    this.addSql(`create table "outbox_dead_letters" (
      "id" uuid not null,
      "event_type" varchar(100) not null,
      "aggregate_type" varchar(100) not null,
      "aggregate_id" varchar(36) not null,
      "payload" json not null,
      "headers" json not null,
      "sequence" bigint not null,
      "ordering_key" varchar(255) null,
      "bucket" int not null,
      "schema_version" int not null,
      "created_at" timestamptz(3) not null,
      "attempts" int not null,
      "reason" varchar(20) not null,
      "error" text not null,
      "history" json not null,
      "blocks_key" boolean not null,
      "dead_at" timestamptz(3) not null,
      primary key ("id")
    )`)
    this.addSql('create index "outbox_dead_letters_blocking_index" on "outbox_dead_letters" ("bucket") where blocks_key')
    this.addSql('create index "outbox_dead_letters_dead_at_index" on "outbox_dead_letters" ("dead_at")')
  }

  override down(): void {
    for (const table of ['outbox_dead_letters', 'outbox_failures', 'outbox_relays', 'outbox_leases']) {
      this.addSql(`drop table "${table}"`)
    }
  }
}

class AddRelayProgress extends Migration {
  override up(): void {
    this.addSql('alter table "outbox_relays" add column "rates" json null')
    // Room for the second version of most rows on their own page: a mark then logs what it changed, and not the payload again.
    this.addSql('alter table "domain_events" set (fillfactor = 60)')
  }

  override down(): void {
    this.addSql('alter table "outbox_relays" drop column "rates"')
    this.addSql('alter table "domain_events" reset (fillfactor)')
  }
}

/** The relay's own tables on PostgreSQL. */
export const relayMigrationsPostgresql: readonly MigrationObject[] = [
  { name: 'data-access-002-outbox-relay', class: CreateRelayTables },
  { name: 'data-access-003-relay-progress', class: AddRelayProgress },
]
