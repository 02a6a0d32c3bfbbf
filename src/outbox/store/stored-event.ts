import type { Dialect } from '../../database/sql.ts'
import { sqlEpochMs, sqlUntil } from './store-sql.ts'

/** A pending event as the relay reads it: never an entity, its JSON still text. */
export interface StoredEvent {
  readonly id: string
  readonly type: string
  readonly aggregateType: string
  readonly aggregateId: string
  readonly payloadJson: string
  readonly headersJson: string
  readonly orderingKey: string | null
  readonly bucket: number
  readonly sequence: bigint
  readonly schemaVersion: number
  readonly attempts: number
  readonly createdAt: Date
  /** Milliseconds until it may be published; 0 when it may. */
  readonly waitMs: number
  /** It was in hand when a relay crashed. */
  readonly suspect: boolean
}

/** Begins the `last_error` of an event that was in hand when a relay crashed. */
export const crashMark = 'RELAY_CRASHED'

/** The `last_error` of events that a relay had in hand when it crashed: one text for all of them. */
export function crashText(relay: string, events: number): string {
  return `${crashMark}: relay ${relay} ended without a word while it published ${events === 1 ? 'this event' : `${events} events, this one among them`}`
}

/** How many events were in hand, by the text that each of them got. */
export function crashSize(text: string): number {
  return Number(/ published (\d+) events/.exec(text)?.[1] ?? 1)
}

/** One row of {@link sqlStoredEvent}, as both drivers give it. */
export interface EventRow {
  id: string
  event_type: string
  aggregate_type: string
  aggregate_id: string
  payload: string
  headers: string
  ordering_key: string | null
  bucket: number
  sequence: string
  schema_version: number
  attempts: number
  created_ms: number
  wait_ms: number | null
  suspect: number
}

/**
 * The columns of a stored event, of a table with the alias `e`.
 *
 * @param bare without its payload and headers.
 */
export function sqlStoredEvent(dialect: Dialect, bare = false): string {
  const texts = bare ? "'' as payload, '' as headers" : 'cast(e.payload as text) as payload, cast(e.headers as text) as headers'
  return `e.id, e.event_type, e.aggregate_type, e.aggregate_id, ${texts}, e.ordering_key, e.bucket, cast(e.sequence as text) as sequence, e.schema_version,
    e.attempts, ${sqlEpochMs(dialect, 'e.created_at')} as created_ms, ${sqlUntil(dialect, 'e.available_at')} as wait_ms,
    case when e.last_error like '${crashMark}%' then 1 else 0 end as suspect`
}

/** Makes a stored event of a row. */
export function toStoredEvent(row: EventRow): StoredEvent {
  return {
    id: row.id,
    type: row.event_type,
    aggregateType: row.aggregate_type,
    aggregateId: row.aggregate_id,
    payloadJson: row.payload,
    headersJson: row.headers,
    orderingKey: row.ordering_key,
    bucket: row.bucket,
    sequence: BigInt(row.sequence),
    schemaVersion: row.schema_version,
    attempts: row.attempts,
    createdAt: new Date(row.created_ms),
    waitMs: Math.max(0, row.wait_ms ?? 0),
    suspect: row.suspect === 1,
  }
}
