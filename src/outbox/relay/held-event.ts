import type { EventDefinitions } from '../event/event-definitions.ts'
import { decodePayload } from '../event/payload.ts'
import { type OutboxEvent, permanent } from '../publishing/publisher.ts'
import type { StoredEvent } from '../store/stored-event.ts'

/** An event in the relay's hand: the row, its fence, and what the publisher gets, if the row can be read. */
export interface EventInHand {
  readonly id: string
  readonly orderingKey: string | null
  readonly row: StoredEvent
  readonly epoch: number
  /** Absent when the row cannot be decoded. */
  readonly event: OutboxEvent | undefined
  /** Why it cannot. */
  readonly fault: Error | undefined
}

/** Reads a row: with the event's definition when it is listed, else as plain JSON. A row that cannot be read is a dead letter. */
export function toHand(row: StoredEvent, epoch: number, definitions: EventDefinitions): EventInHand {
  const { id, orderingKey } = row
  try {
    return { id, orderingKey, row, epoch, event: toOutboxEvent(row, definitions), fault: undefined }
  } catch (error) {
    return { id, orderingKey, row, epoch, event: undefined, fault: permanent(error) }
  }
}

const noHeaders: Readonly<Record<string, string>> = Object.freeze({})

function toOutboxEvent(row: StoredEvent, definitions: EventDefinitions): OutboxEvent {
  const definition = definitions.find(row.type, row.schemaVersion)
  return {
    id: row.id,
    type: row.type,
    aggregateType: row.aggregateType,
    aggregateId: row.aggregateId,
    payload: definition === undefined ? (JSON.parse(row.payloadJson) as unknown) : decodePayload(definition, row.payloadJson),
    decoded: definition !== undefined,
    payloadJson: row.payloadJson,
    orderingKey: row.orderingKey,
    sequence: row.sequence,
    schemaVersion: row.schemaVersion,
    headers: row.headersJson === '{}' ? noHeaders : (JSON.parse(row.headersJson) as Record<string, string>),
    createdAt: row.createdAt,
    attempt: row.attempts + 1,
  }
}
