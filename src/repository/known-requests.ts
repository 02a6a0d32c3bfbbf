import type { ReadRequest } from '../cache/load.ts'

const most = 10_000
/** An id can be any text that a caller was given: longer ones are not worth their memory. */
const longest = 100

/**
 * How rows were asked for lately, by their ids: to check an id and to put a key together, whose text is hashed anew then, would take
 * most of the time of a hit in process. It holds no rows, so nothing in it can be out of date.
 */
export class KnownRequests {
  readonly #byId = new Map<unknown, ReadRequest>()

  get(id: unknown): ReadRequest | undefined {
    return this.#byId.get(id)
  }

  /** Keeps it, unless the id is long, or an object, which can be changed and then be that of another row. */
  keep(id: unknown, request: ReadRequest): void {
    if (typeof id === 'object' || (typeof id === 'string' && id.length > longest)) return
    if (this.#byId.size === most) this.#byId.clear()
    this.#byId.set(id, request)
  }
}
