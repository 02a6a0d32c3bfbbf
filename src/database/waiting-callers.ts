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
    return new Promise((resolve, reject) => {
      const refuse = (reason: Error) => {
        reject(reason)
        acquiring.then(giveBack).catch(() => {}) // nobody waits for it any more
      }
      this.#waiting.add(refuse)
      const done = <Outcome>(tell: (outcome: Outcome) => void) => {
        return (outcome: Outcome) => {
          this.#waiting.delete(refuse)
          tell(outcome)
        }
      }
      acquiring.then(done(resolve), done(reject))
    })
  }

  /** Refuses all who wait, and who come from now on. */
  dismiss(reason: () => Error): void {
    this.#reason = reason
    for (const refuse of this.#waiting) refuse(reason())
    this.#waiting.clear()
  }
}
