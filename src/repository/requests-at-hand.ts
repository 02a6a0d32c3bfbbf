import type { ReadRequest } from '../cache/load.ts'

const most = 10_000

/**
 * How rows that were at hand are asked for, by their ids: to hash the text of a key that is made anew would take most of the time of
 * a hit. It holds no rows, so nothing in it can be out of date.
 */
export class RequestsAtHand {
  readonly #byId = new Map<unknown, ReadRequest>()

  get(id: unknown): ReadRequest | undefined {
    return this.#byId.get(id)
  }

  /** Keeps it, unless the id is an object, which can be changed and then be that of another row. */
  keep(id: unknown, request: ReadRequest): void {
    if (typeof id === 'object') return
    if (this.#byId.size === most) this.#byId.clear()
    this.#byId.set(id, request)
  }
}
