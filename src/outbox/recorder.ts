import type { EntityManager } from '@mikro-orm/core'
import { dialectOf, runSql } from '../database/sql.ts'
import type { CommitParticipant } from '../database/transaction-subscriber.ts'
import { type CommitScope, Journal } from '../kernel/commit-scope.ts'
import { placeKey } from './ordering-key.ts'
import type { RecordedEvent } from './recorded-event.ts'

/** Keeps our advisory locks apart from everyone else's: the first argument of `pg_advisory_xact_lock(int, int)`. */
const advisoryLockClass = 0x0da7a0b

/** The events that a root transaction will store. */
export const recordedEvents = new Journal<RecordedEvent>('recorded events')

/**
 * Stores the recorded events of a root transaction as its last statement, after all business rows: an event inserted with
 * them would draw its sequence number before its aggregate's row is locked, and commit order would be lost.
 */
export class EventRecorder implements CommitParticipant {
  readonly name = 'outbox'
  readonly #wake: () => void

  /** @param wake called after each commit that stored events; must not throw. */
  constructor(wake: () => void) {
    this.#wake = wake
  }

  async beforeCommit({ em, scope }: { em: EntityManager; scope: CommitScope }): Promise<void> {
    const events = scope.read(recordedEvents)
    if (events.length === 0) return
    if (dialectOf(em) === 'postgresql') await insertOnPostgresql(em, events)
    else await insertOnSqlite(em, events)
  }

  async afterCommit({ scope }: { scope: CommitScope }): Promise<void> {
    if (scope.read(recordedEvents).length > 0) this.#wake()
  }
}

/**
 * Locks the slots of all ordering keys in slot order, then inserts in the order of recording, in one round trip. The rows are
 * joined to the count of the locks taken, so no sequence number is drawn before them; they are held until the commit, so of
 * two transactions with a common key the one that commits first has the lower numbers. The transaction has its id before the
 * first number too: the relay's watermark relies on it.
 */
async function insertOnPostgresql(em: EntityManager, events: readonly RecordedEvent[]): Promise<void> {
  const slots = new Set(events.flatMap(({ orderingKey }) => (orderingKey === null ? [] : [placeKey(orderingKey).slot])))
  const sorted = [...slots].sort((one, other) => one - other)
  const rows = events.map((event, position) => [position, ...columnsOf(event)])
  await runSql(
    em,
    `insert into domain_events (${columnNames}, updated_at, sequence)
    select id::uuid, event_type, aggregate_type, aggregate_id, payload::json, headers::json, ordering_key, bucket, schema_version,
      to_timestamp(available_at::bigint / 1000.0), to_timestamp(created_at / 1000.0), to_timestamp(created_at / 1000.0),
      nextval('domain_events_sequence')
    from (select count(pg_advisory_xact_lock(${advisoryLockClass}, slot)) as taken, pg_current_xact_id() as began
        from unnest('{${sorted.join()}}'::int[]) as slot) as held,
      (values ${rows.map((row) => `(${row.map(() => '?').join()})`).join()}) as event (position, ${columnNames})
    where held.taken >= 0 and held.began is not null order by position`,
    rows.flat(),
  )
}

/** SQLite has one writer at a time, which holds the database until its commit: the counter is drawn in commit order. */
async function insertOnSqlite(em: EntityManager, events: readonly RecordedEvent[]): Promise<void> {
  const [counter] = await runSql<{ value: number }>(
    em,
    'update outbox_sequence set value = value + ? where id = 1 returning value',
    [events.length],
  )
  const before = Number(counter?.value) - events.length
  // SQLite bounds the parameters and rows of one statement; all events travel as one JSON array.
  const rows = JSON.stringify(events.map(columnsOf))
  await runSql(
    em,
    `insert into domain_events (${columnNames}, updated_at, sequence)
    select ${columns.map((_, index) => `value ->> ${index}`).join()}, value ->> ${columns.indexOf('created_at')}, ? + 1 + key
    from json_each(?)`,
    [before, rows],
  )
}

const columns = [
  'id',
  'event_type',
  'aggregate_type',
  'aggregate_id',
  'payload',
  'headers',
  'ordering_key',
  'bucket',
  'schema_version',
  'available_at',
  'created_at',
] as const
const columnNames = columns.join(', ')

/** An event's values in the order of the columns; times in ms since 1970. */
function columnsOf(event: RecordedEvent): (string | number | null)[] {
  return [
    event.id,
    event.type,
    event.aggregateType,
    event.aggregateId,
    event.payloadJson,
    JSON.stringify(event.headers),
    event.orderingKey,
    placeKey(event.orderingKey ?? event.id).bucket,
    event.schemaVersion,
    event.availableAt?.getTime() ?? null,
    event.createdAt.getTime(),
  ]
}
