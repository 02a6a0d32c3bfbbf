import { type EntityMetadata, helper } from '@mikro-orm/core'
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { v7 as uuidv7 } from 'uuid'
import { entityNameOf } from '../../database/entity-name.ts'
import { Uuid } from '../../database/uuid.ts'
import { DataAccessError } from '../../errors.ts'
import { checkOptions, type KnownOptions, record } from '../../kernel/options.ts'
import { isStorableText } from '../../kernel/storable-text.ts'
import { type DomainEventDefinition, eventLengths } from './define-event.ts'
import { encodePayload } from './payload.ts'

/** How one event is recorded. */
export interface RecordOptions {
  /**
   * Events of one key are published in the order in which their transactions commit. Default: the aggregate. `null`: no
   * order. 1 to 255 characters.
   */
  readonly orderingKey?: string | null | undefined
  /** Travels with the event, outside the payload: trace context, tenant, causation. Default: none. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Not published before this moment, between 1970 and 9999, by the database's clock; later events of its key wait behind it. Default: at once. */
  readonly availableAt?: Date | undefined
}

const recordOptions: KnownOptions<RecordOptions> = {
  orderingKey: { words: 'a string, or null for no order', fits: (value) => value === null || typeof value === 'string' },
  headers: { words: 'an object of strings', fits: isTexts },
  availableAt: { words: 'a Date', fits: (value) => value instanceof Date },
}

function isTexts(value: unknown): boolean {
  return record.fits(value) && Object.values(value as object).every((text) => typeof text === 'string')
}

/** An event as recorded: it exists if and only if the unit of work commits. */
export interface RecordedEvent<Payload = unknown> {
  /** UUID version 7; the same in every delivery. */
  readonly id: string
  /** The permanent name of its definition. */
  readonly type: string
  /** The name of the aggregate's entity, or the one in its definition. */
  readonly aggregateType: string
  /** The aggregate's id as text, 1 to 36 characters. */
  readonly aggregateId: string
  /** What the schema made of the payload that was given. */
  readonly payload: Payload
  /** The JSON that is stored: of the payload, or of what the codec made of it. */
  readonly payloadJson: string
  /** Every event begins so. */
  readonly status: 'pending'
  /** The key within which it is published in order: `<aggregateType>:<aggregateId>` unless it was given; `null`: no order. */
  readonly orderingKey: string | null
  /** Those that were given, frozen; empty when there were none. */
  readonly headers: Readonly<Record<string, string>>
  /** The `version` of its definition. */
  readonly schemaVersion: number
  /** Before when it is not published; `null`: at once. */
  readonly availableAt: Date | null
  /** When it was recorded, by the clock of this process; the commit is later. */
  readonly createdAt: Date
}

/**
 * Records a domain event in the unit of work that gave this function. The aggregate is an entity of the event's class, whose id is known
 * already, or that id; of an event defined with a name, any entity or id. Returns the event, frozen.
 *
 * @throws DataAccessError `EVENT_DEFINITION_INVALID`, `EVENT_UNKNOWN`, `OPTION_INVALID`, `EVENT_AGGREGATE_INVALID`, `ID_INVALID`,
 * `EVENT_PAYLOAD_REFUSED`, `EVENT_PAYLOAD_NOT_JSON`, `EVENT_SCHEMA_ASYNC`, `RECORD_OUTSIDE_UNIT`; what schema and codec throw.
 */
export type RecordEvent = <Schema extends StandardSchemaV1, Aggregate extends object>(
  event: DomainEventDefinition<Schema, Aggregate>,
  aggregate: Aggregate | string | number | bigint,
  payload: StandardSchemaV1.InferInput<Schema>,
  options?: RecordOptions,
) => RecordedEvent<StandardSchemaV1.InferOutput<Schema>>

/**
 * Makes the event that `record()` stores: validated, encoded, with its id and key.
 *
 * @throws DataAccessError `EVENT_PAYLOAD_REFUSED`, `EVENT_PAYLOAD_NOT_JSON`, `EVENT_SCHEMA_ASYNC`, `EVENT_AGGREGATE_INVALID`,
 * `ID_INVALID`, `OPTION_INVALID`.
 */
export function makeEvent<Schema extends StandardSchemaV1, Aggregate extends object>(
  event: DomainEventDefinition<Schema, Aggregate>,
  aggregate: Aggregate | string | number | bigint,
  payload: unknown,
  options: RecordOptions,
): RecordedEvent<StandardSchemaV1.InferOutput<Schema>> {
  checkOptions({ door: `record(${event.type})` }, options, recordOptions)
  const aggregateId = aggregateIdOf(event, aggregate)
  const { value, json } = encodePayload(event, payload)
  const orderingKey = options.orderingKey === undefined ? `${event.aggregateType}:${aggregateId}` : options.orderingKey
  if (orderingKey !== null) requireLength(event.type, 'orderingKey', orderingKey, eventLengths.orderingKey)
  const availableAt = options.availableAt ?? null
  // Both databases write years as four digits.
  if (availableAt !== null && !(availableAt.getTime() >= 0 && availableAt.getUTCFullYear() <= 9999)) {
    const found = Number.isNaN(availableAt.getTime()) ? 'an invalid Date' : availableAt.toISOString()
    const message = `Event "${event.type}": availableAt is ${found}; give a Date between 1970 and 9999, or none`
    throw new DataAccessError('OPTION_INVALID', message)
  }
  return Object.freeze({
    id: uuidv7(),
    type: event.type,
    aggregateType: event.aggregateType,
    aggregateId,
    payload: value,
    payloadJson: json,
    status: 'pending',
    orderingKey,
    headers: Object.freeze({ ...options.headers }),
    schemaVersion: event.version,
    availableAt,
    createdAt: new Date(),
  } as const)
}

function aggregateIdOf(event: DomainEventDefinition, aggregate: object | string | number | bigint): string {
  requireEntity(event)
  // Types promise more than a database: an id that it has not made yet is undefined.
  if (aggregate === undefined || aggregate === null || Number.isNaN(aggregate)) {
    throw new DataAccessError(
      'EVENT_AGGREGATE_INVALID',
      `Event "${event.type}": the id of its ${event.aggregateType} is ${aggregate}; if the database makes it, await em.flush() before record()`,
    )
  }
  if (typeof aggregate !== 'object') {
    // In another spelling it would be another ordering key.
    idTypeOf(event.aggregate)?.convertToDatabaseValue(String(aggregate))
    return requireLength(event.type, 'aggregate id', String(aggregate), eventLengths.aggregateId)
  }
  const wrapped = '__helper' in aggregate ? helper(aggregate) : undefined
  if (wrapped === undefined || (event.aggregate !== undefined && !(aggregate instanceof event.aggregate))) {
    throw new DataAccessError(
      'EVENT_AGGREGATE_INVALID',
      `Event "${event.type}" is about ${event.aggregateType}; it was recorded for ${wrapped?.__meta.className ?? aggregate.constructor?.name ?? 'an object'}. Give the entity or its id`,
    )
  }
  const id = wrapped.hasPrimaryKey() ? wrapped.getSerializedPrimaryKey() : ''
  if (id === '') {
    throw new DataAccessError(
      'EVENT_AGGREGATE_INVALID',
      `Event "${event.type}": its ${event.aggregateType} has no id yet, since the database makes it; await em.flush() before record()`,
    )
  }
  return requireLength(event.type, 'aggregate id', id, eventLengths.aggregateId)
}

/** Of another class there is no name that lasts, and so no key that two builds of a program share. */
function requireEntity({ type, aggregate }: DomainEventDefinition): void {
  if (aggregate === undefined || entityNameOf(aggregate) !== undefined) return
  throw new DataAccessError(
    'EVENT_AGGREGATE_INVALID',
    `Event "${type}": its aggregate, the class ${aggregate.name}, is no entity here; add it to the \`entities\` of a module, or give defineEvent a name as the aggregate`,
  )
}

/** The type of the ids of an aggregate whose ids are uuids of this library. */
function idTypeOf(aggregate: DomainEventDefinition['aggregate']): Uuid | undefined {
  const meta =
    aggregate?.prototype === undefined ? undefined : (Reflect.get(aggregate.prototype, '__meta') as EntityMetadata | undefined)
  const [id] = meta?.compositePK === false ? meta.getPrimaryProps() : []
  return id?.customType instanceof Uuid ? id.customType : undefined
}

function requireLength(type: string, what: string, value: string, limit: number): string {
  const fits = value.length > 0 && value.length <= limit
  if (fits && isStorableText(value)) return value
  const must = fits ? 'neither NUL nor half a surrogate pair' : `1 to ${limit} characters, not ${value.length}`
  throw new DataAccessError('EVENT_AGGREGATE_INVALID', `Event "${type}": its ${what} must have ${must}`)
}
