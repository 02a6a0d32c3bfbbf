import { DataAccessError } from '../../errors.ts'
import type { Clock } from '../../kernel/clock.ts'
import {
  checkOutcomes,
  type OutboxEvent,
  type Outcome,
  outcomeOfError,
  type PublishContext,
  type Publisher,
  unavailable,
} from '../publishing/publisher.ts'

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
      return await Promise.race([this.#ask(events, { signal: abort.signal, closing: closing.signal }), silence])
    } finally {
      settled.abort(answered)
    }
  }

  /** Whatever goes wrong here is the publisher's doing: were it thrown on, it would be taken for an outage of the database. */
  async #ask(events: readonly OutboxEvent[], context: PublishContext): Promise<Outcome[]> {
    try {
      // A list of its own, and frozen: had it sorted ours in place, outcomes would be given to the wrong events.
      const answer = await this.#publisher.publish(Object.freeze([...events]), context)
      return checkOutcomes(this.#publisher.name, events, answer)
    } catch (error) {
      return events.map(() => outcomeOfError(error))
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
      abort.abort(
        new DataAccessError(
          'PUBLISHER_TIMEOUT',
          `Publisher "${this.#publisher.name}" did not answer within ${this.#timeoutMs} ms for ${events.length} events, the first ${events[0]?.id}; whether they were published is unknown; it counts as a failed try of each. Raise publishTimeout if this is its normal pace`,
          { context: { publisher: this.#publisher.name, timeoutMs: this.#timeoutMs } },
        ),
      )
    } catch {
      if (settled.aborted) return []
      abort.abort(unavailable(new Error('The relay was stopped while it published')))
    }
    // A publisher that honours its signal knows better than we which events got through.
    await this.#clock.wait(graceMs, settled).catch(() => {})
    return events.map(() => outcomeOfError(abort.signal.reason))
  }
}
