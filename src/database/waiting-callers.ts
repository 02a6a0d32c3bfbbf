/**
 * Those who wait for a connection. When the database closes nobody gives them one, and nobody tells them: a pool that ends forgets who waits, and
 * the one connection of SQLite does not come back from whoever holds it.
 */
export class WaitingCallers {
  readonly #waiting = new Set<(reason: Error) => void>()
  #reason: (() => Error) | undefined

  /** What is acquired, or a rejection when {@link dismiss} comes first: what is acquired all the same is given back. */
  async wait<Acquired>(acquire: () => Promise<Acquired>, giveBack: (late: Acquired) => unknown = () => {}): Promise<Acquired> {
    if (this.#reason !== undefined) throw this.#reason()
    const acquiring = acquire()
    let refuse = (_reason: Error) => {}
    try {
      return await new Promise((resolve, reject) => {
        refuse = (reason) => {
          reject(reason)
          acquiring.then(giveBack).catch(() => {}) // nobody waits for it any more
        }
        this.#waiting.add(refuse)
        // By no functions of ours: a stack trace would end here, and tell no longer which line of the application waits.
        acquiring.then(resolve, reject)
      })
    } finally {
      this.#waiting.delete(refuse)
    }
  }

  /** Refuses all who wait, and who come from now on. */
  dismiss(reason: () => Error): void {
    this.#reason = reason
    for (const refuse of this.#waiting) refuse(reason())
    this.#waiting.clear()
  }
}
