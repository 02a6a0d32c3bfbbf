import { EntitySchema } from '@mikro-orm/core'
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { entityNameOf } from '../../database/entity-name.ts'
import { DataAccessError } from '../../errors.ts'
import { anything, callable, checkOptions, type Expectation, record } from '../../kernel/options.ts'
import { isStorableText } from '../../kernel/storable-text.ts'
import type { DecodedEvent, EventMessage, OutboxEvent } from '../publishing/publisher.ts'
import { type PayloadCodec, readPayload } from './payload.ts'

/** Lengths of the columns that hold an event's names, in characters. */
export const eventLengths = { type: 100, aggregateType: 100, aggregateId: 36, orderingKey: 255 } as const

/** The column of the version holds four bytes. */
const highestVersion = 2 ** 31 - 1

/** The class of an aggregate, as `em.create` takes it. */
// biome-ignore lint/suspicious/noExplicitAny: a constructor's parameters are contravariant; only `any` admits every class.
export type AggregateClass<T extends object> = abstract new (...args: any[]) => T

/** What {@link defineEvent} takes. */
export interface DomainEventOptions<Schema extends StandardSchemaV1, Aggregate extends object> {
  /** The event's permanent name, 1 to 100 characters. */
  readonly type: string
  /** The kind of thing the event is about: an entity by its class or schema, which has a permanent name, or a name of 1 to 100 characters. */
  readonly aggregate: AggregateClass<Aggregate> | EntitySchema<Aggregate> | string
  /** Any Standard Schema (zod, valibot, arktype …) that validates synchronously and accepts its own output. */
  readonly payload: Schema
  /** Stored with each event, for readers that know several shapes; a whole number from 1 to 2,147,483,647. Default 1. */
  readonly version?: number | undefined
  /** For payloads that JSON cannot carry as they are. Default: they are stored as they are. */
  readonly codec?: PayloadCodec<StandardSchemaV1.InferOutput<Schema>> | undefined
}

const codecExpected: Expectation = {
  words: 'an object with the functions encode and decode',
  fits: (codec) =>
    record.fits(codec) && callable.fits((codec as CodecParts).encode) && callable.fits((codec as CodecParts).decode),
}
type CodecParts = Partial<PayloadCodec<unknown>>

/** A typed kind of domain event; made by {@link defineEvent}. */
export interface DomainEventDefinition<Schema extends StandardSchemaV1 = StandardSchemaV1, Aggregate extends object = object> {
  /** The event's permanent name, which its consumers see; with `version` it is unique among the events of a data access. */
  readonly type: string
  /** The name of the aggregate's entity, or the one that was given. */
  readonly aggregateType: string
  /** The class of the aggregate's entity; `undefined` when the event was defined with a name. */
  readonly aggregate: AggregateClass<Aggregate> | undefined
  /** The schema by which payloads are validated, when they are recorded and when they are read. */
  readonly payload: Schema
  /** The version of the payload's shape, from 1. */
  readonly version: number
  /** How payloads become JSON and back; `undefined` when they are JSON. */
  // biome-ignore lint/suspicious/noExplicitAny: a codec is contravariant in its payload; definitions of all payloads share one list.
  readonly codec: PayloadCodec<any> | undefined
  /**
   * Tells a publisher whether an event is of this type and version, and so what its payload is.
   *
   * @throws DataAccessError `EVENT_UNKNOWN` when it is, and no module of the relay's data access lists this definition: to pass
   * over an event because its payload was not read would lose it.
   */
  is(event: OutboxEvent): event is DecodedEvent<StandardSchemaV1.InferOutput<Schema>>
  /**
   * Reads a message that a consumer got, through codec and schema; `undefined` when it is of another type or version.
   *
   * @throws DataAccessError `EVENT_PAYLOAD_REFUSED` when the payload does not fit, `EVENT_SCHEMA_ASYNC`.
   */
  read(message: Pick<EventMessage, 'type' | 'schemaVersion' | 'payload'>): StandardSchemaV1.InferOutput<Schema> | undefined
}

/**
 * Defines a kind of domain event. The payload is validated when an event is recorded and again when it is read, with the
 * same schema; stored is the JSON of the schema's output.
 *
 * @throws DataAccessError `EVENT_DEFINITION_INVALID` for an empty or too long name, something that is no Standard Schema, or a version out
 * of its range; `OPTION_INVALID` for an option that is unknown, or a codec that cannot encode and decode.
 */
export function defineEvent<Schema extends StandardSchemaV1, Aggregate extends object = object>(
  options: DomainEventOptions<Schema, Aggregate>,
): DomainEventDefinition<Schema, Aggregate> {
  // What they hold has errors of its own.
  const known = { type: anything, aggregate: anything, payload: anything, version: anything, codec: codecExpected }
  checkOptions({ door: 'defineEvent' }, options, known)
  const { type, aggregate, payload, version = 1, codec } = options
  requireName('type', type, eventLengths.type, type)
  // A class may get its entity's name later, when its file has run to the end; EventDefinitions looks at it.
  if (typeof aggregate !== 'function' && !EntitySchema.is(aggregate))
    requireName('aggregate', aggregate, eventLengths.aggregateType, type)
  if (typeof payload?.['~standard']?.validate !== 'function') {
    throw new DataAccessError(
      'EVENT_DEFINITION_INVALID',
      `Event "${type}": its payload must be a Standard Schema, such as z.object({ … }) of zod or v.object({ … }) of valibot`,
    )
  }
  if (!Number.isInteger(version) || version < 1 || version > highestVersion) {
    throw new DataAccessError(
      'EVENT_DEFINITION_INVALID',
      `Event "${type}": version must be a whole number from 1 to ${highestVersion}, not ${version}`,
    )
  }
  const is = (event: OutboxEvent): event is DecodedEvent<StandardSchemaV1.InferOutput<Schema>> => {
    if (event.type !== type || event.schemaVersion !== version) return false
    if (event.decoded) return true
    throw new DataAccessError(
      'EVENT_UNKNOWN',
      `Event "${type}" of version ${version}: no module of the relay's data access lists it, so its payload was not read; add it to the \`events\` of a module`,
      { context: { event: type, version } },
    )
  }
  const read: DomainEventDefinition<Schema>['read'] = (message) => {
    if (message.type !== type || message.schemaVersion !== version) return undefined
    return readPayload({ type, payload, codec }, message.payload, 'in a message does not fit its schema')
  }
  return Object.freeze({
    ...{ type, payload, version, codec, is, read },
    // Asked each time: a schema may get its class later.
    get aggregate() {
      return typeof aggregate === 'string' ? undefined : classOf(aggregate)
    },
    get aggregateType() {
      return typeof aggregate === 'string' ? aggregate : (entityNameOf(classOf(aggregate)) ?? classOf(aggregate).name)
    },
  })
}

function classOf<Aggregate extends object>(
  entity: AggregateClass<Aggregate> | EntitySchema<Aggregate>,
): AggregateClass<Aggregate> {
  return typeof entity === 'function' ? entity : entity.meta.class
}

/** @throws DataAccessError `EVENT_DEFINITION_INVALID` for a name that no column takes. */
export function requireName(option: string, value: unknown, limit: number, type: unknown): asserts value is string {
  const fault =
    typeof value !== 'string' || value.length === 0 || value.length > limit
      ? `1 to ${limit} characters, not ${typeof value === 'string' ? value.length : typeof value}`
      : isStorableText(value)
        ? undefined
        : 'neither NUL nor half a surrogate pair'
  if (fault === undefined) return
  throw new DataAccessError('EVENT_DEFINITION_INVALID', `Event "${String(type)}": ${option} must have ${fault}`)
}
