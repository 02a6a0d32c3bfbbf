import { DataAccessError } from '../../errors.ts'
import type { Clock } from '../../kernel/clock.ts'
import {
  checkOutcomes,
  type OutboxEvent,
  type Outcome,
  outcomeOfError,
  type Publisher,
  unavailable,
} from '../publishing/publisher.ts'

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
   */
  async publish(events: readonly OutboxEvent[], deadline: AbortSignal): Promise<Outcome[]> {
    const abort = new AbortController()
    const settled = new AbortController()
    const silence = this.#giveUp(events, abort, settled.signal, deadline)
    try {
      const answer = (async () => this.#publisher.publish(events, { signal: abort.signal }))()
      return await Promise.race([
        answer.then(
          (outcomes) => checkOutcomes(this.#publisher.name, events, outcomes),
          (error: unknown) => events.map(() => outcomeOfError(error)),
        ),
        silence,
      ])
    } finally {
      settled.abort(answered)
    }
  }

  /** Aborts the publisher at the timeout or the deadline; a moment later speaks for it. */
  async #giveUp(
    events: readonly OutboxEvent[],
    abort: AbortController,
    settled: AbortSignal,
    deadline: AbortSignal,
  ): Promise<Outcome[]> {
    try {
      await this.#clock.wait(this.#timeoutMs, AbortSignal.any([settled, deadline]))
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
