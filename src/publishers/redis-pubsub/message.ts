import type { OutboxEvent } from '../../outbox/publishing/publisher.ts'

/** What a subscriber gets from `JSON.parse` of a message. */
export interface PubSubMessage {
  /** The same in every repetition. */
  readonly id: string
  readonly type: string
  readonly aggregateType: string
  readonly aggregateId: string
  /** The JSON that was stored. */
  readonly payload: unknown
  readonly headers: Readonly<Record<string, string>>
  /** ISO 8601, in UTC. */
  readonly createdAt: string
  /** Decimal digits, since a JSON number would lose some. Orders the events of one key. */
  readonly sequence: string
  readonly schemaVersion: number
}

/** An event as a JSON message; the payload's text goes into it as it was stored. */
export function toMessage(event: OutboxEvent): string {
  const { id, type, aggregateType, aggregateId, headers, schemaVersion } = event
  const rest = JSON.stringify({
    id,
    type,
    aggregateType,
    aggregateId,
    headers,
    createdAt: event.createdAt.toISOString(),
    sequence: String(event.sequence),
    schemaVersion,
  } satisfies Omit<PubSubMessage, 'payload'>)
  return `${rest.slice(0, -1)},"payload":${event.payloadJson}}`
}
