import type { EntityManager } from '@mikro-orm/core'
import type { CommitParticipant } from '../../database/commit-participant.ts'
import { dialectOf, runSql, runSqlWithCommit } from '../../database/sql.ts'
import { type CommitScope, Journal } from '../../kernel/commit-scope.ts'
import { advisoryLockClass, type KeyPlacement, placeKey } from './ordering-key.ts'
import type { RecordedEvent } from './recorded-event.ts'

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
 * Locks the slots of all ordering keys in slot order, then inserts in the order of recording; the two travel in one message
 * with the commit. No sequence number is drawn before the locks are held, and they are until the commit, so of two
 * transactions with a common key the one that commits first has the lower numbers. The relay's watermark knows by these
 * locks who may have drawn a number, so a transaction of events without a key takes one too, which it shares.
 */
async function insertOnPostgresql(em: EntityManager, events: readonly RecordedEvent[]): Promise<void> {
  const slots = new Set<number>()
  const values = events.flatMap((event) => {
    const { bucket, slot } = placeOf(event)
    if (event.orderingKey !== null) slots.add(slot)
    return valuesOf(event, bucket, (moment) => moment.toISOString())
  })
  const sorted = [...slots].sort((one, other) => one - other)
  // The items of a select are evaluated from left to right.
  const locks = sorted.map((slot) => `pg_advisory_xact_lock(${advisoryLockClass}, ${slot})`)
  const holds = locks.length > 0 ? locks : [`pg_advisory_xact_lock_shared(${advisoryLockClass}, -1)`]
  await runSqlWithCommit(
    em,
    `select ${holds.join()};
    insert into domain_events (${columnNames}, updated_at, sequence) values ${events.map(() => postgresqlRow).join()}`,
    values,
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
  const rows = JSON.stringify(events.map((event) => valuesOf(event, placeOf(event).bucket, (moment) => moment.getTime())))
  await runSql(
    em,
    `insert into domain_events (${columnNames}, updated_at, sequence)
    select ${columns.map((_, index) => `value ->> ${index}`).join()}, ${sqliteNow}, ? + 1 + key from json_each(?)`,
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
// The age of an event is told by the database's clock: that of a writer may be wrong. Not now(), which is when its transaction began.
const postgresqlRow = `(${columns.map(() => '?').join()}, clock_timestamp(), nextval('domain_events_sequence'))`

const sqliteNow = "cast(unixepoch('subsec') * 1000 as integer)"

/** Where an event is kept: by its key, or alone. */
function placeOf({ orderingKey, id }: RecordedEvent): KeyPlacement {
  return placeKey(orderingKey ?? id)
}

/** An event's values in the order of the columns; each dialect has its own way to write a moment. */
function valuesOf(event: RecordedEvent, bucket: number, write: (moment: Date) => string | number): (string | number | null)[] {
  return [
    event.id,
    event.type,
    event.aggregateType,
    event.aggregateId,
    event.payloadJson,
    JSON.stringify(event.headers),
    event.orderingKey,
    bucket,
    event.schemaVersion,
    event.availableAt === null ? null : write(event.availableAt),
    write(event.createdAt),
  ]
}
