import { notBegun, type OutboxEvent, type Outcome } from './publisher.ts'

/**
 * Remembers what a publisher had no time to begin. That goes first with the next call: behind what fails late each time it would never
 * get its turn.
 */
export class Turns {
  /** How many calls in a row had no time to begin an event, by its id. */
  #left: ReadonlyMap<string, number> = new Map()

  waited({ id }: OutboxEvent): number {
    return this.#left.get(id) ?? 0
  }

  /** Takes the outcomes of a call. */
  ended(events: readonly OutboxEvent[], outcomes: readonly Outcome[]): void {
    const left = events.filter((_, index) => outcomes[index] === notBegun)
    this.#left = new Map(left.map((event) => [event.id, this.waited(event) + 1]))
  }
}
