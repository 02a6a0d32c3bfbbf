import { causesOf, DataAccessError } from '../../errors.ts'
import { type Clock, longestSince, type Moment, momentOf } from '../../kernel/clock.ts'
import { askPublisher } from '../publishing/ask-publisher.ts'
import { notBegun, type OutboxEvent, type Outcome, outcomeOfError, type Publisher, unavailable } from '../publishing/publisher.ts'
import type { EventInHand } from './event-in-hand.ts'

/** How long a publisher may still report outcomes after its signal aborted, in ms. */
const graceMs = 50

/** Why nobody waits any more; given, since without a reason each abort would make an error with a stack. */
const answered = 'answered'

/** Publishes one wave at a time, within the publish timeout, and turns whatever the publisher does into outcomes. */
export class WavePublisher {
  readonly #publisher: Publisher
  readonly #timeoutMs: number
  readonly #clock: Clock

  constructor(publisher: Publisher, timeoutMs: number, clock: Clock) {
    this.#publisher = publisher
    this.#timeoutMs = timeoutMs
    this.#clock = clock
  }

  /**
   * Resolves to one outcome per event. A publisher that throws, hangs or returns garbage costs its events an attempt; a stop
   * that cuts the publishing off costs none.
   *
   * @param deadline aborts when the relay must stop now.
   * @param began when the leases were looked at: the time is counted from there.
   */
  async publish(events: readonly OutboxEvent[], deadline: AbortSignal, began = this.now()): Promise<Outcome[]> {
    const mayBegin = () => longestSince(began, this.#clock) < this.#timeoutMs / 2
    if (!mayBegin()) return events.map(() => notBegun)
    const abort = new AbortController()
    const settled = new AbortController()
    const silence = this.#giveUp(events, began, abort, settled.signal, deadline)
    try {
      const context = { signal: abort.signal, mayBegin }
      const outcomes = await Promise.race([askPublisher(this.#publisher, events, context), silence])
      if (!abort.signal.aborted && !deadline.aborted) return outcomes
      return outcomes.map((outcome) => asCutOff(outcome, abort.signal.reason, deadline.aborted))
    } finally {
      settled.abort(answered)
    }
  }

  /** The present moment, to count a publish from. */
  now(): Moment {
    return momentOf(this.#clock)
  }

  /** Aborts the publisher at the timeout or the deadline; a moment later speaks for it. */
  async #giveUp(
    events: readonly OutboxEvent[],
    began: Moment,
    abort: AbortController,
    settled: AbortSignal,
    deadline: AbortSignal,
  ): Promise<Outcome[]> {
    try {
      const left = this.#timeoutMs - longestSince(began, this.#clock)
      await this.#clock.wait(left, AbortSignal.any([settled, deadline]))
      cutOff(
        abort,
        new DataAccessError(
          'PUBLISHER_TIMEOUT',
          `Publisher "${this.#publisher.name}" did not answer within ${this.#timeoutMs} ms for ${events.length} events, the first ${events[0]?.id}; whether they were published is unknown; it counts as a failed try of each. Raise publishTimeout if this is its normal pace`,
          { context: { publisher: this.#publisher.name, timeoutMs: this.#timeoutMs } },
        ),
      )
    } catch {
      if (settled.aborted) return []
      cutOff(abort, unavailable(new Error('The relay was stopped while it published')))
    }
    // A publisher that honours its signal knows better than we which events got through.
    await this.#clock.wait(graceMs, settled).catch(() => {})
    return events.map(() => outcomeOfError(abort.signal.reason))
  }
}

/**
 * Publishes the events of a wave that can be read; the others are dead letters.
 *
 * @param admit tells of an event whether it may still be tried: to read the wave takes time, in which a lease may go by.
 */
export async function publishWave(
  wave: readonly EventInHand[],
  publisher: WavePublisher,
  admit: (hand: EventInHand) => boolean,
  deadline: AbortSignal,
): Promise<Outcome[]> {
  const events = wave.flatMap(({ event }): OutboxEvent[] => (event === undefined ? [] : [event]))
  // Before the look at the leases: whatever stands still behind it, nothing begins later than they allow.
  const began = publisher.now()
  if (!wave.every(admit)) return wave.map(() => notBegun)
  const outcomes = events.length === 0 ? [] : await publisher.publish(events, deadline, began)
  let next = 0
  return wave.map(({ event, fault }) => {
    return event === undefined ? { status: 'permanent', error: fault } : (outcomes[next++] as Outcome)
  })
}

/** Aborts for a reason that keeps its meaning: all events of the call share it, and marked as an outage by one it would be one for all. */
function cutOff(abort: AbortController, reason: Error): void {
  abort.abort(Object.preventExtensions(reason))
}

/**
 * What failed because the relay cut it off counts as the relay means it: a timeout as a failed try, a stop as none. A function that
 * takes every error of its request for an outage would else let one receiver that hangs stop all keys.
 */
function asCutOff(outcome: Outcome, reason: unknown, stopped: boolean): Outcome {
  if (outcome.status === 'published' || outcome === notBegun) return outcome
  // A client may have an error of its own for a signal that aborts, from which nothing can be told.
  if (stopped && outcome.status === 'retryable') return { status: 'unavailable', error: outcome.error }
  if (!causesOf(outcome.error).some((each) => each === reason)) return outcome
  return { status: outcomeOfError(reason).status, error: outcome.error }
}
