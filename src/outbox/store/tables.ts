import { DomainEvent } from '../event/domain-event.ts'
import { outboxMigrationsPostgresql } from './migrations-postgresql.ts'
import { outboxMigrationsSqlite } from './migrations-sqlite.ts'
import { relayMigrationsPostgresql } from './relay-migrations-postgresql.ts'
import { relayMigrationsSqlite } from './relay-migrations-sqlite.ts'
import { OutboxDeadLetter, OutboxFailure, OutboxLease, OutboxProgress, OutboxRelay } from './relay-tables.ts'

/** The outbox's share of the database: its entities, their migrations, and the names of all its tables and functions. */
export const outboxTables = {
  entities: [DomainEvent, OutboxLease, OutboxRelay, OutboxProgress, OutboxFailure, OutboxDeadLetter],
  migrations: {
    postgresql: [...outboxMigrationsPostgresql, ...relayMigrationsPostgresql],
    sqlite: [...outboxMigrationsSqlite, ...relayMigrationsSqlite],
  },
  names: [
    'domain_events',
    'outbox_sequence',
    'outbox_leases',
    'outbox_relays',
    'outbox_progress',
    'outbox_failures',
    'outbox_dead_letters',
  ],
  /** On PostgreSQL. */
  functions: ['domain_events_fetch'],
} as const
