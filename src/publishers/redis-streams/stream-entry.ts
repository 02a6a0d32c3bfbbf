import { DataAccessError } from '../../errors.ts'
import type { EventMessage, OutboxEvent } from '../../outbox/publishing/publisher.ts'

/** The fields of a stream's entry, in this order. Values are text. */
export interface StreamEntry {
  /** The event's id: the same in every repetition. */
  readonly id: string
  /** The event's permanent name. */
  readonly type: string
  /** The name of the aggregate's entity, or the one in the event's definition. */
  readonly aggregateType: string
  /** The aggregate's id. */
  readonly aggregateId: string
  /** Decimal digits. Orders the events of one key. */
  readonly sequence: string
  /** The `version` of the definition by which it was recorded, in decimal digits. */
  readonly schemaVersion: string
  /** When it was recorded: ISO 8601, in UTC, with milliseconds. */
  readonly createdAt: string
  /** A JSON object of strings, `{}` when there are none. */
  readonly headers: string
  /** The JSON that was stored. */
  readonly payload: string
}

/** An event as the fields of an entry. */
export function toStreamEntry(event: OutboxEvent): StreamEntry {
  return {
    id: event.id,
    type: event.type,
    aggregateType: event.aggregateType,
    aggregateId: event.aggregateId,
    sequence: String(event.sequence),
    schemaVersion: String(event.schemaVersion),
    createdAt: event.createdAt.toISOString(),
    headers: JSON.stringify(event.headers),
    payload: event.payloadJson,
  }
}

/** The fields of an entry, in their order. */
export const entryFields = [
  'id',
  'type',
  'aggregateType',
  'aggregateId',
  'sequence',
  'schemaVersion',
  'createdAt',
  'headers',
  'payload',
] as const satisfies readonly (keyof StreamEntry)[]

/** The values of an event's entry as a JSON array, in the order of {@link entryFields}. */
export function writeEntry(event: OutboxEvent): string {
  const entry = toStreamEntry(event)
  return JSON.stringify(entryFields.map((field) => entry[field]))
}

/**
 * The message of an entry, from the names and values in turn that ioredis gives for one: what `JSON.parse()` makes of a message of
 * `redisPubSub()`.
 *
 * @throws DataAccessError `EVENT_PAYLOAD_REFUSED` when `headers` or `payload` are missing or no JSON, as in an entry that somebody else has written.
 */
export function readStreamEntry(fields: readonly string[]): EventMessage {
  const entry: Partial<Record<string, string>> = {}
  for (let at = 0; at < fields.length; at += 2) entry[fields[at] as string] = fields[at + 1]
  const { schemaVersion, headers, payload, ...texts } = entry as unknown as StreamEntry
  try {
    return { ...texts, schemaVersion: Number(schemaVersion), headers: JSON.parse(headers), payload: JSON.parse(payload) }
  } catch (cause) {
    throw noEvent(entry, cause)
  }
}

function noEvent(entry: Partial<Record<string, string>>, cause: unknown): DataAccessError {
  const which =
    entry.id === undefined ? `An entry with the fields ${Object.keys(entry).join(', ')}` : `The entry of event ${entry.id}`
  const message = `${which} is none of redisStreams(): its headers or payload are no JSON`
  return new DataAccessError('EVENT_PAYLOAD_REFUSED', message, { cause })
}
