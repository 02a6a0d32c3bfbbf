import type { StandardSchemaV1 } from '@standard-schema/spec'
import { DataAccessError } from '../../errors.ts'
import { findJsonFault } from '../../kernel/strict-json.ts'

/** Turns a payload into what JSON can carry, and back, for values such as BigInt that it cannot. Both functions answer at once, not with a promise. */
export interface PayloadCodec<Payload> {
  /** Gets the schema's output, and gives what JSON carries unchanged. What it throws, `record()` throws as it is, and the unit does not commit. */
  encode(payload: Payload): unknown
  /**
   * Gets what `JSON.parse()` read, and gives what the schema accepts. What it throws becomes `EVENT_PAYLOAD_REFUSED` with it as its cause: in
   * `record()`, which reads back what it writes, and in a relay, where the event becomes a dead letter at once.
   */
  decode(json: unknown): unknown
}

/** What of an event's definition tells how its payloads are written and read. */
interface PayloadRules<Schema extends StandardSchemaV1> {
  readonly type: string
  readonly payload: Schema
  // biome-ignore lint/suspicious/noExplicitAny: a codec is contravariant in its payload; definitions of all payloads share one list.
  readonly codec: PayloadCodec<any> | undefined
}

/** A payload that may be stored: as the schema gave it, and as the JSON text that readers get. */
export interface EncodedPayload<Payload> {
  readonly value: Payload
  readonly json: string
}

/**
 * Validates a payload and encodes it as JSON. What it accepts can be read back: the JSON is decoded once as a check.
 *
 * @throws DataAccessError `EVENT_PAYLOAD_REFUSED`, `EVENT_PAYLOAD_NOT_JSON` or `EVENT_SCHEMA_ASYNC`.
 */
export function encodePayload<Schema extends StandardSchemaV1>(
  event: PayloadRules<Schema>,
  payload: unknown,
): EncodedPayload<StandardSchemaV1.InferOutput<Schema>> {
  const value = validate(event, payload, 'was refused by its schema')
  const carried: unknown = event.codec === undefined ? value : event.codec.encode(value)
  const fault = findJsonFault(carried, 'payload')
  if (fault !== undefined) {
    throw new DataAccessError(
      'EVENT_PAYLOAD_NOT_JSON',
      `Event "${event.type}" was not recorded: ${fault.path} ${fault.reason}. Give defineEvent a codec, or record a value that JSON has`,
      { context: { event: event.type, path: fault.path } },
    )
  }
  const json = JSON.stringify(carried)
  decodePayload(event, json, 'cannot be read back from its own JSON; use a schema that accepts its output as JSON, or a codec')
  return { value, json }
}

/**
 * Reads a stored payload back, validated by the event's schema.
 *
 * @throws DataAccessError `EVENT_PAYLOAD_REFUSED` when the text is no JSON or no longer fits the schema.
 */
export function decodePayload<Schema extends StandardSchemaV1>(
  event: PayloadRules<Schema>,
  json: string,
  complaint = 'as stored no longer fits its schema',
): StandardSchemaV1.InferOutput<Schema> {
  let carried: unknown
  try {
    carried = JSON.parse(json)
  } catch (cause) {
    throw refusal(event, complaint, [String(cause)], cause)
  }
  return readPayload(event, carried, complaint)
}

/**
 * Reads a payload as JSON carries it, validated by the event's schema.
 *
 * @throws DataAccessError `EVENT_PAYLOAD_REFUSED` when it does not fit the codec or the schema.
 */
export function readPayload<Schema extends StandardSchemaV1>(
  event: PayloadRules<Schema>,
  carried: unknown,
  complaint: string,
): StandardSchemaV1.InferOutput<Schema> {
  if (event.codec === undefined) return validate(event, carried, complaint)
  let decoded: unknown
  try {
    decoded = event.codec.decode(carried)
  } catch (cause) {
    throw refusal(event, complaint, [String(cause)], cause)
  }
  return validate(event, decoded, complaint)
}

function validate<Schema extends StandardSchemaV1>(
  event: PayloadRules<Schema>,
  payload: unknown,
  complaint: string,
): StandardSchemaV1.InferOutput<Schema> {
  const result = event.payload['~standard'].validate(payload)
  // A schema of one's own may forget to answer.
  if (typeof result !== 'object' || result === null) {
    throw new DataAccessError(
      'EVENT_DEFINITION_INVALID',
      `Event "${event.type}": its schema answered ${String(result)}; a Standard Schema returns { value } or { issues }`,
    )
  }
  if (result instanceof Promise) {
    result.catch(() => {}) // Its verdict comes too late to matter, and must not become an unhandled rejection.
    throw new DataAccessError(
      'EVENT_SCHEMA_ASYNC',
      `Event "${event.type}": its schema validates asynchronously, and a unit of work cannot wait for it; use a synchronous schema`,
    )
  }
  if (result.issues === undefined) return result.value as StandardSchemaV1.InferOutput<Schema>
  throw refusal(
    event,
    complaint,
    result.issues.map((issue) => `${pathOf(issue)}: ${issue.message}`),
  )
}

function refusal(
  event: { readonly type: string },
  complaint: string,
  issues: readonly string[],
  cause?: unknown,
): DataAccessError {
  return new DataAccessError('EVENT_PAYLOAD_REFUSED', `Event "${event.type}": its payload ${complaint}: ${issues.join('; ')}`, {
    cause,
    context: { event: event.type, issues },
  })
}

function pathOf(issue: StandardSchemaV1.Issue): string {
  const segments = issue.path?.map((segment) => String(typeof segment === 'object' ? segment.key : segment)) ?? []
  return ['payload', ...segments].join('.')
}
