import { Migration } from '@mikro-orm/migrations'
import type { MigrationDefinition } from '../../database/migrations.ts'

class CreateDomainEvents extends Migration {
  override up(): void {
    this.addSql(`create table \`domain_events\` (
      \`id\` text not null primary key,
      \`event_type\` text not null,
      \`aggregate_type\` text not null,
      \`aggregate_id\` text not null,
      \`payload\` text not null,
      \`status\` text not null default 'pending',
      \`published_at\` datetime null,
      \`created_at\` datetime not null,
      \`updated_at\` datetime not null,
      \`sequence\` bigint not null,
      \`ordering_key\` text null,
      \`bucket\` integer not null,
      \`schema_version\` integer not null default 1,
      \`headers\` text not null,
      \`available_at\` datetime null,
      \`attempts\` integer not null default 0,
      \`last_error\` text null
    )`)
    this.addSql('create index `domain_events_event_type_index` on `domain_events` (`event_type`)')
    this.addSql('create index `domain_events_aggregate_id_index` on `domain_events` (`aggregate_id`)')
    this.addSql('create index `domain_events_status_created_at_index` on `domain_events` (`status`, `created_at`)')
    this.addSql("create index `domain_events_pending_index` on `domain_events` (`bucket`, `sequence`) where status = 'pending'")
    this.addSql(
      "create index `domain_events_delayed_index` on `domain_events` (`ordering_key`, `sequence`) where status = 'pending' and available_at is not null",
    )
    this.addSql(
      "create index `domain_events_available_index` on `domain_events` (`available_at`, `attempts`) where status = 'pending' and available_at is not null",
    )
    // One row that counts: rowids are reused after a delete, and an identity column must be the primary key.
    this.addSql('create table `outbox_sequence` (`id` integer not null primary key check (`id` = 1), `value` bigint not null)')
    this.addSql('insert into `outbox_sequence` (`id`, `value`) values (1, 0)')
  }

  override down(): void {
    this.addSql('drop table `outbox_sequence`')
    this.addSql('drop table `domain_events`')
  }
}

/** The outbox's own tables on SQLite, in order. */
export const outboxMigrationsSqlite: readonly MigrationDefinition[] = [
  { name: 'data-access-001-domain-events', class: CreateDomainEvents },
]
