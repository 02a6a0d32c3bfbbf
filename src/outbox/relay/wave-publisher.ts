import { causesOf, DataAccessError } from '../../errors.ts'
import type { Clock } from '../../kernel/clock.ts'
import { askPublisher } from '../publishing/ask-publisher.ts'
import { notBegun, type OutboxEvent, type Outcome, outcomeOfError, type Publisher, unavailable } from '../publishing/publisher.ts'
import type { EventInHand } from './event-in-hand.ts'

/** How long a publisher may still report outcomes after its signal aborted, in ms. */
const graceMs = 50

/** Why nobody waits any more; given, since without a reason each abort would make an error with a stack. */
const answered = 'answered'
const halfOver = 'half of the time is over'

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
   */
  async publish(events: readonly OutboxEvent[], deadline: AbortSignal): Promise<Outcome[]> {
    const abort = new AbortController()
    const closing = new AbortController()
    const settled = new AbortController()
    const silence = this.#giveUp(events, { abort, closing }, settled.signal, deadline)
    try {
      const context = { signal: abort.signal, closing: closing.signal }
      const outcomes = await Promise.race([askPublisher(this.#publisher, events, context), silence])
      if (!abort.signal.aborted && !deadline.aborted) return outcomes
      return outcomes.map((outcome) => asCutOff(outcome, abort.signal.reason, deadline.aborted))
    } finally {
      settled.abort(answered)
    }
  }

  /** Lets nothing begin after half of the time, aborts the publisher at the timeout or the deadline; a moment later speaks for it. */
  async #giveUp(
    events: readonly OutboxEvent[],
    { abort, closing }: { readonly abort: AbortController; readonly closing: AbortController },
    settled: AbortSignal,
    deadline: AbortSignal,
  ): Promise<Outcome[]> {
    try {
      const over = AbortSignal.any([settled, deadline])
      await this.#clock.wait(this.#timeoutMs / 2, over)
      closing.abort(halfOver)
      await this.#clock.wait(this.#timeoutMs / 2, over)
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
  if (!wave.every(admit)) return wave.map(() => notBegun)
  const outcomes = events.length === 0 ? [] : await publisher.publish(events, deadline)
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
