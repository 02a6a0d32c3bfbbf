import type { EventDefinitions } from '../event/event-definitions.ts'
import { decodePayload } from '../event/payload.ts'
import { EventRecord } from '../publishing/event-record.ts'
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

type Decoded = Pick<EventInHand, 'event' | 'fault'>

/**
 * Takes a row in hand. It is decoded when it is first asked for its event, which is to be behind its note: a schema may end the
 * process as a publisher may. With the event's definition when it is listed, else as plain JSON; a row that cannot be decoded is a
 * dead letter.
 *
 * @param onDecoded gets each event once.
 */
export function toHand(
  row: StoredEvent,
  epoch: number,
  definitions: EventDefinitions,
  onDecoded?: (event: OutboxEvent) => void,
): EventInHand {
  return new LazyHand(row, epoch, () => {
    try {
      const event = toOutboxEvent(row, definitions)
      onDecoded?.(event)
      return { event, fault: undefined }
    } catch (error) {
      return { event: undefined, fault: permanent(error) }
    }
  })
}

class LazyHand implements EventInHand {
  readonly id: string
  readonly orderingKey: string | null
  readonly row: StoredEvent
  readonly epoch: number
  readonly #decode: () => Decoded
  #decoded: Decoded | undefined

  constructor(row: StoredEvent, epoch: number, decode: () => Decoded) {
    this.id = row.id
    this.orderingKey = row.orderingKey
    this.row = row
    this.epoch = epoch
    this.#decode = decode
  }

  get event(): OutboxEvent | undefined {
    this.#decoded ??= this.#decode()
    return this.#decoded.event
  }

  get fault(): Error | undefined {
    this.#decoded ??= this.#decode()
    return this.#decoded.fault
  }
}

const noHeaders: Readonly<Record<string, string>> = Object.freeze({})

function toOutboxEvent(row: StoredEvent, definitions: EventDefinitions): OutboxEvent {
  const definition = definitions.find(row.type, row.schemaVersion)
  return new EventRecord({
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
  })
}
