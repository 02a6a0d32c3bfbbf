/** Lets callers have the one connection of a database one after the other. */
export class OneConnection {
  #held: PromiseWithResolvers<void> | undefined

  async take(): Promise<void> {
    while (this.#held !== undefined) await this.#held.promise
    this.#held = Promise.withResolvers()
  }

  giveBack(): void {
    const held = this.#held
    this.#held = undefined
    held?.resolve()
  }
}
