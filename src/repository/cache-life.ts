import { DataAccessError } from '../errors.ts'

/** Whether a cache is open. Its readers may outlive it, around an ORM that is not ours to close: what they had no commit would expire. */
export class CacheLife {
  #closed = false

  get closed(): boolean {
    return this.#closed
  }

  end(): void {
    this.#closed = true
  }

  /** @throws DataAccessError `CLOSED`. */
  refuseWhenClosed(): void {
    if (!this.#closed) return
    const cure = 'ask the new one for its cached reads'
    throw new DataAccessError('CLOSED', `The data access of these cached reads was closed; create a new one and ${cure}`)
  }
}
