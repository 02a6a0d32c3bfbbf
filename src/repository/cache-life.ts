import { DataAccessError } from '../errors.ts'

/** Whether a cache is open. Its readers may outlive it, around an ORM that is not ours to close: what they had no commit would expire. */
export class CacheLife {
  readonly #held: () => boolean
  #closed = false

  /** @param held tells whether the caller stands in a transaction that holds the one connection of SQLite. */
  constructor(held: () => boolean = () => false) {
    this.#held = held
  }

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

  /**
   * Of a read that goes past every transaction. What it waits for, a load of others or the identity of the database, would wait for
   * the caller's own transaction, and no query of the caller's could tell.
   *
   * @throws DataAccessError `TRANSACTION_FORK`.
   */
  refuseWhenHeld(): void {
    if (!this.#held()) return
    throw new DataAccessError(
      'TRANSACTION_FORK',
      'Inside a transaction a cached read went past it, as through another fork; SQLite has one connection, so it might wait for ever. Leave `em` out, or give that of the unit of work',
    )
  }
}
