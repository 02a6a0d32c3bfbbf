import { AsyncLocalStorage } from 'node:async_hooks'
import type { EntityManager } from '@mikro-orm/core'

/** A turn, and that in whose course it was taken. */
interface Turn {
  readonly em: EntityManager
  readonly around: Turn | undefined
  over: boolean
}

/**
 * Lets those that would meet in one entity manager take turns: savepoints of one transaction form a stack, so siblings that ran
 * at once would release each other's, and two forks of one entity manager would both write its edits.
 */
export class Turns {
  /** Per entity manager what the next one waits for; never rejects. */
  readonly #last = new WeakMap<EntityManager, Promise<unknown>>()
  readonly #current = new AsyncLocalStorage<Turn>()

  /** Runs when all before have ended. A turn ends when `run` has, or when that calls `end`. */
  take<Result>(em: EntityManager, run: (end: () => void) => Promise<Result>): Promise<Result> {
    // Whoever stands in a turn of the same would wait for itself.
    if (this.#holds(em)) return run(() => {})
    const { promise: ended, resolve: end } = Promise.withResolvers<void>()
    const own: Turn = { em, around: this.#current.getStore(), over: false }
    const finish = () => {
      own.over = true
      end()
    }
    const turn = this.#before(em).then(() => this.#current.run(own, () => run(finish)))
    this.#last.set(em, Promise.race([ended, turn.catch(() => {})]))
    turn.then(finish, finish)
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

  #holds(em: EntityManager): boolean {
    for (let turn = this.#current.getStore(); turn !== undefined; turn = turn.around) {
      if (turn.em === em && !turn.over) return true
    }
    return false
  }
}
