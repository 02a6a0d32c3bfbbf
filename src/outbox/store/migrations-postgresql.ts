import { Migration } from '@mikro-orm/migrations'
import type { MigrationDefinition } from '../../database/migrations.ts'

class CreateDomainEvents extends Migration {
  override up(): void {
    this.addSql(`create table "domain_events" (
      "id" uuid not null,
      "event_type" varchar(100) not null,
      "aggregate_type" varchar(100) not null,
      "aggregate_id" varchar(36) not null,
      "payload" json not null,
      "status" varchar(20) not null default 'pending',
      "published_at" timestamptz(3) null,
      "created_at" timestamptz(3) not null,
      "updated_at" timestamptz(3) not null,
      "sequence" bigint not null,
      "ordering_key" varchar(255) null,
      "bucket" int not null,
      "schema_version" int not null default 1,
      "headers" json not null,
      "available_at" timestamptz(3) null,
      "attempts" int not null default 0,
      "last_error" text null,
      primary key ("id")
    )`)
    this.addSql('create index "domain_events_event_type_index" on "domain_events" ("event_type")')
    this.addSql('create index "domain_events_aggregate_id_index" on "domain_events" ("aggregate_id")')
    this.addSql('create index "domain_events_status_created_at_index" on "domain_events" ("status", "created_at")')
    this.addSql(`create index "domain_events_pending_index" on "domain_events" ("bucket", "sequence") where status = 'pending'`)
    this.addSql(
      `create index "domain_events_delayed_index" on "domain_events" ("ordering_key", "sequence") where status = 'pending' and available_at is not null`,
    )
    this.addSql(
      `create index "domain_events_available_index" on "domain_events" ("available_at", "attempts") where status = 'pending' and available_at is not null`,
    )
    // Cache 1: a larger cache hands blocks of numbers to connections, and a later commit could get a smaller number.
    this.addSql('create sequence "domain_events_sequence" as bigint cache 1 owned by "domain_events"."sequence"')
  }

  override down(): void {
    this.addSql('drop table "domain_events"')
  }
}

/** The outbox's own tables on PostgreSQL, in order. */
export const outboxMigrationsPostgresql: readonly MigrationDefinition[] = [
  { name: 'data-access-001-domain-events', class: CreateDomainEvents },
]
