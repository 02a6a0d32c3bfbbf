import { inspect } from 'node:util'
import { DataAccessError } from '../../errors.ts'
import type { Logger } from '../../kernel/logger.ts'
import { toError } from '../../kernel/thrown-error.ts'

/** A stored event on its way to a publisher. */
export interface OutboxEvent {
  /** UUID version 7; the same in every delivery, so that consumers can drop repetitions. */
  readonly id: string
  /** The permanent name of its definition. */
  readonly type: string
  /** The name of the aggregate's entity, or the one in its definition. */
  readonly aggregateType: string
  /** The aggregate's id as text, 1 to 36 characters. */
  readonly aggregateId: string
  /** The payload as its definition reads it; the plain JSON when not `decoded`. {@link DomainEventDefinition.is} tells its type. */
  readonly payload: unknown
  /** Whether a module of the relay's data access lists this event in this version, so that its definition read the payload. */
  readonly decoded: boolean
  /** The payload exactly as stored. */
  readonly payloadJson: string
  /** Events of one key are published in the order of their `sequence`; `null`: no order. */
  readonly orderingKey: string | null
  /** Orders the events of one key as their transactions committed; says nothing across keys, and has gaps. */
  readonly sequence: bigint
  /** The `version` of the definition by which it was recorded, from 1. */
  readonly schemaVersion: number
  /** Those of its `record()`; empty when there were none. */
  readonly headers: Readonly<Record<string, string>>
  /** When it was recorded, to a millisecond, by the clock of the process that did. */
  readonly createdAt: Date
  /** Which try this is: 1 for the first. One that spends no attempt, as in an outage, does not count. */
  readonly attempt: number
  /** What `JSON.stringify()` writes of the event itself, not of a copy of it, for a consumer. */
  toJSON(): EventMessage
}

/** An event as consumers get it: what `JSON.stringify()` makes of it, and a message of `redisPubSub()`. */
export interface EventMessage {
  /** UUID version 7; the same in every repetition. */
  readonly id: string
  /** The permanent name of its definition. */
  readonly type: string
  /** The name of the aggregate's entity, or the one in its definition. */
  readonly aggregateType: string
  /** The aggregate's id as text, 1 to 36 characters. */
  readonly aggregateId: string
  /** The JSON that was stored. */
  readonly payload: unknown
  /** Those of its `record()`, outside the payload; empty when there were none. */
  readonly headers: Readonly<Record<string, string>>
  /** When it was recorded: ISO 8601, in UTC, with milliseconds. */
  readonly createdAt: string
  /** Decimal digits, since a JSON number would lose some. Orders the events of one key. */
  readonly sequence: string
  /** The `version` of the definition by which it was recorded, from 1. */
  readonly schemaVersion: number
}

/** An event whose payload was read by its definition, so that its type is known. */
export interface DecodedEvent<Payload> extends OutboxEvent {
  /** What the definition's schema made of the stored JSON. */
  readonly payload: Payload
  /** A module of the relay's data access lists it. */
  readonly decoded: true
}

/** Why an event was not published, which decides what the relay does next. */
export type PublishFault =
  /** Try this event again after a while; it counts an attempt, and later events of its key wait. */
  | 'retryable'
  /** It will never succeed: to the dead letters, now. */
  | 'permanent'
  /** The broker is away: everything waits, and no attempt is counted. */
  | 'unavailable'

/** What became of one event. */
export type Outcome = { readonly status: 'published' } | ({ readonly status: PublishFault; readonly error: unknown } & NextTry)

/** When to try again, which a receiver may ask for by `Retry-After`. */
export interface NextTry {
  /**
   * Milliseconds for which this event is not tried again, or nothing is while `unavailable`; as ever when that is later. At most an
   * hour counts, and nothing that is no positive number, such as the `NaN` of a header that was not sent.
   */
  readonly afterMs?: number | undefined
}

/** What became of an event that was not published. */
export type Failure = Exclude<Outcome, { readonly status: 'published' }>

/**
 * The way to a broker. **Atomic?** No: each event has its own outcome. **Ordered?** The events of one call have different
 * ordering keys and may be published in any order; an event comes only after those before it in its key were published.
 * **Idempotent?** An event may come again with the same id. **Concurrent?** A relay waits for a call before the next, but no
 * longer than a moment after its signal aborted, and several relays may share it. **A throw** counts as `retryable` for every event of the call, unless marked by {@link permanent} or
 * {@link unavailable}.
 */
export interface Publisher {
  /** Permanent, 1 to 100 characters: a relay with a publisher of another name refuses to run beside this one. */
  readonly name: string
  /**
   * Gets ready what needs no broker, such as its driver; a relay calls it each time before it takes events. What it throws is
   * thrown by the relay's `start()` and `drain()`, and no event is touched. May be called many times. The logger is that of the
   * data access; what concerns every event, such as a broker that is away, the relay logs itself.
   */
  prepare?(surroundings?: { readonly logger: Logger }): Promise<void>
  /**
   * Publishes events and resolves to their outcomes, one for each, in their order. `published` means that the broker has
   * acknowledged it. The list is frozen: to sort it, copy it. When the signal aborts, the relay waits no longer than a moment.
   */
  publish(events: readonly OutboxEvent[], context: PublishContext): Promise<readonly Outcome[]>
  /**
   * Ends the connections that the publisher opened, after what was sent; one that it was given stays open. May be called twice.
   * `data.close()` calls it for the publishers of its relays.
   */
  close?(): Promise<void>
}

/** What a publisher gets beside the events. */
export interface PublishContext {
  /** Aborts at the publish timeout, and when the relay must stop now. */
  readonly signal: AbortSignal
  /**
   * Tells whether an event may still be begun: not once half the publish timeout is over, so that each has the other half at least. Our own
   * publishers ask before each event or portion. A signal would not do: behind a process that stood still its timer comes too late.
   *
   * @internal
   */
  readonly mayBegin?: () => boolean
}

/**
 * A publisher for one event: resolves when it was published, unless to another {@link Outcome}; throws when it was not. It returns nothing
 * else: the answer of a fetch, which tells of failures too, would be taken for success.
 */
// biome-ignore lint/suspicious/noConfusingVoidType: a function without a return statement returns void.
export type PublishFunction = (event: OutboxEvent, context: PublishContext) => void | Outcome | Promise<void | Outcome>

/**
 * What our own publishers answer for an event that they did not begin, for want of time or behind an outage: it stays pending as if it had
 * not been in the wave, and comes with the next batch. Known by its identity; to anybody but a relay it reads as `unavailable`, which blames no event either.
 */
export const notBegun: Outcome = Object.freeze({
  status: 'unavailable',
  error: new Error('The publisher did not begin with this event'),
})

const faultMark = Symbol.for('@innovateai/data-access/publish-fault')

/** Marks an error of a publisher: this event can never be published, and goes to the dead letters. Returns the error itself, or of what is frozen or no `Error` one made of it. */
export function permanent(error: unknown): Error {
  return markFault(error, { status: 'permanent' })
}

/** Marks an error of a publisher: this event failed, as with any error, and its receiver has said when to try again. Returns what {@link permanent} does. */
export function retryable(error: unknown, { afterMs }: NextTry = {}): Error {
  return markFault(error, { status: 'retryable', afterMs })
}

/** Marks an error of a publisher: the broker is away; all events wait, and none spends an attempt. Returns what {@link permanent} does. */
export function unavailable(error: unknown, { afterMs }: NextTry = {}): Error {
  return markFault(error, { status: 'unavailable', afterMs })
}

function markFault(error: unknown, fault: { readonly status: PublishFault } & NextTry): Error {
  const given = toError(error)
  const marked = Object.isExtensible(given) ? given : new Error(given.message, { cause: given })
  Object.defineProperty(marked, faultMark, { value: fault, configurable: true })
  return marked
}

/** The outcome that a thrown error stands for. */
export function outcomeOfError(error: unknown): Failure {
  const given = toError(error)
  const fault = faultMark in given ? (given[faultMark] as { readonly status: PublishFault } & NextTry) : undefined
  return { status: fault?.status ?? 'retryable', error: given, afterMs: fault?.afterMs }
}

/** One for all: a wave has hundreds. */
const published: Outcome = Object.freeze({ status: 'published' })

/**
 * Checks what a publisher gave back. Events for which it reported nothing that makes sense count as `retryable`: nobody
 * knows whether they were published.
 */
export function checkOutcomes(publisher: string, events: readonly OutboxEvent[], given: unknown): Outcome[] {
  const list: readonly unknown[] = Array.isArray(given) ? given : []
  // With another length no outcome can be told to belong to its event.
  const usable = list.length === events.length
  return events.map((event, index) => {
    const outcome = usable ? list[index] : undefined
    if (isOutcome(outcome)) return withError(publisher, outcome)
    const found = usable ? `the outcome ${describe(outcome)}` : `${describe(given)} for ${events.length} events`
    const error = new DataAccessError(
      'PUBLISHER_INVALID_OUTCOME',
      `Publisher "${publisher}" returned ${found}, so whether event ${event.id} was published is unknown; it counts as a failed try. Return one outcome per event: { status: 'published' }, or a status of retryable, permanent or unavailable with its error`,
      { context: { publisher, event: event.id } },
    )
    return { status: 'retryable', error }
  })
}

function withError(publisher: string, outcome: Outcome): Outcome {
  if (outcome === notBegun) return notBegun
  const { status } = outcome
  // Not the publisher's own object: it may use that again for another event.
  if (status === 'published') return published
  const { error, afterMs } = outcome
  if (error !== undefined && error !== null) return { status, error: toError(error), afterMs }
  return { status, error: new Error(`Publisher "${publisher}" gave no error with its outcome ${status}`), afterMs }
}

/** Whether a value is the outcome of one event. */
export function isOutcome(value: unknown): value is Outcome {
  if (typeof value !== 'object' || value === null || !('status' in value)) return false
  return ['published', 'retryable', 'permanent', 'unavailable'].includes(value.status as string)
}

function describe(value: unknown): string {
  if (Array.isArray(value)) return `an array of ${value.length}`
  if (typeof value === 'object' && value !== null && 'status' in value) return `with status ${inspect(value.status)}`
  return inspect(value, { depth: 0 })
}
