import { AsyncLocalStorage } from 'node:async_hooks'
import type { EntityManager } from '@mikro-orm/core'

/** A turn, and that in whose course it was taken. */
interface Turn {
  readonly place: object
  readonly around: Turn | undefined
  over: boolean
}

/**
 * Lets those take turns that would meet in one transaction, of which several entity managers may be, or in one entity manager that is
 * in none: savepoints of one transaction form a stack, so siblings that ran at once would release each other's, and two forks of one
 * entity manager would both write its edits.
 */
export class Turns {
  /** Per transaction or entity manager what the next one waits for; never rejects. */
  readonly #last = new WeakMap<object, Promise<unknown>>()
  readonly #current = new AsyncLocalStorage<Turn>()

  /**
   * Runs when all before have ended. A turn ends when `run` has, or when that calls `end`.
   *
   * @param place the transaction, where it is not the one that the entity manager is in.
   */
  take<Result>(em: EntityManager, run: (end: () => void) => Promise<Result>, place: object = placeOf(em)): Promise<Result> {
    // Whoever stands in a turn of the same would wait for itself.
    if (this.#holds(place)) return run(() => {})
    const { promise: ended, resolve: end } = Promise.withResolvers<void>()
    const own: Turn = { place, around: this.#current.getStore(), over: false }
    const finish = () => {
      own.over = true
      end()
    }
    const turn = this.#before(place).then(() => this.#current.run(own, () => run(finish)))
    this.#last.set(place, Promise.race([ended, turn.catch(() => {})]))
    turn.then(finish, finish)
    return turn
  }

  /** Lets the next turn of an entity manager also wait for what runs in another one. */
  hold(em: EntityManager, running: Promise<unknown>): void {
    const place = placeOf(em)
    this.#last.set(place, Promise.all([this.#before(place), running.catch(() => {})]))
  }

  /** Waits until no turn of an entity manager is left. */
  async settle(em: EntityManager): Promise<void> {
    const place = placeOf(em)
    for (let last: unknown, turn = this.#last.get(place); turn !== last; turn = this.#last.get(place)) {
      await turn
      last = turn
    }
  }

  #before(place: object): Promise<unknown> {
    return this.#last.get(place) ?? Promise.resolve()
  }

  #holds(place: object): boolean {
    for (let turn = this.#current.getStore(); turn !== undefined; turn = turn.around) {
      if (turn.place === place && !turn.over) return true
    }
    return false
  }
}

function placeOf(em: EntityManager): object {
  return (em.getTransactionContext() as object | undefined) ?? em
}
