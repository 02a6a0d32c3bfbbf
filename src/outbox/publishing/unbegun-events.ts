import { LRUCache } from 'lru-cache'
import { notBegun, type OutboxEvent, type Outcome } from './publisher.ts'

/** So many events are remembered. */
const mostLeft = 20_000

/**
 * Remembers what a publisher did not begin. That goes first with the next call: behind what fails late each time it would never
 * get its turn.
 */
export class UnbegunEvents {
  /** How many calls in a row did not begin an event, by its id. What another relay publishes in the end is forgotten some time. */
  readonly #left = new LRUCache<string, number>({ max: mostLeft })

  waited({ id }: OutboxEvent): number {
    return this.#left.get(id) ?? 0
  }

  /** Takes the outcomes of a call. */
  ended(events: readonly OutboxEvent[], outcomes: readonly Outcome[]): void {
    events.forEach((event, index) => {
      if (outcomes[index] === notBegun) this.#left.set(event.id, this.waited(event) + 1)
      else this.#left.delete(event.id)
    })
  }
}
