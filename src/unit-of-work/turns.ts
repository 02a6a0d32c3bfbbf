import type { EntityManager } from '@mikro-orm/core'

/**
 * Lets those that would meet in one entity manager take turns: savepoints of one transaction form a stack, so siblings that ran
 * at once would release each other's, and two forks of one entity manager would both write its edits.
 */
export class Turns {
  /** Per entity manager what the next one waits for; never rejects. */
  readonly #last = new WeakMap<EntityManager, Promise<unknown>>()

  /** Runs when all before have ended. A turn ends when `run` has, or when that calls `end`. */
  take<Result>(em: EntityManager, run: (end: () => void) => Promise<Result>): Promise<Result> {
    const { promise: ended, resolve: end } = Promise.withResolvers<void>()
    const turn = this.#before(em).then(() => run(end))
    this.#last.set(em, Promise.race([ended, turn.catch(() => {})]))
    return turn
  }

  /** Lets the next turn of an entity manager also wait for what runs in another one. */
  hold(em: EntityManager, running: Promise<unknown>): void {
    this.#last.set(em, Promise.all([this.#before(em), running.catch(() => {})]))
  }

  /** Waits until no turn of an entity manager is left. */
  async settle(em: EntityManager): Promise<void> {
    for (let last: unknown, turn = this.#last.get(em); turn !== last; turn = this.#last.get(em)) {
      await turn
      last = turn
    }
  }

  #before(em: EntityManager): Promise<unknown> {
    return this.#last.get(em) ?? Promise.resolve()
  }
}
