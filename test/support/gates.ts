/** Something that waits at a gate. */
export interface Parked {
  /** Lets it go on. */
  readonly resume: () => void
  /** Ends it, as nobody hears of what a dead process does. */
  readonly drop: () => void
}

/** What happens to the next call of one kind: it waits or fails, before it has its effect or once it had it. */
export interface Mishap {
  readonly call: string
  readonly what: 'waits' | 'fails'
  readonly when: 'before' | 'after'
}

/** Stands around the calls of one process to its database and its store: lets them wait and fail, and knows what is under way. */
export class Gates {
  mishap: Mishap | undefined
  /** The store does not answer: nothing has an effect. */
  away = false
  readonly parked: Parked[] = []
  #dead = false
  #running = 0

  /** True while a call is under way that does not wait at a gate. */
  get busy(): boolean {
    return this.#running > 0
  }

  get dead(): boolean {
    return this.#dead
  }

  /** A process that died: what it has begun never ends, and it begins nothing more. */
  drop(): void {
    this.#dead = true
    for (const { drop } of this.parked.splice(0)) drop()
  }

  async pass<T>(call: string, run: () => Promise<T>): Promise<T> {
    if (this.#dead) throw new Error('The process is dead')
    if (this.away && call !== 'load') throw new Error('The store is away')
    const mishap = this.mishap?.call === call ? this.mishap : undefined
    if (mishap !== undefined) this.mishap = undefined
    if (mishap?.when === 'before') await this.#suffer(mishap)
    this.#running += 1
    const result = await run().finally(() => {
      this.#running -= 1
    })
    if (mishap?.when === 'after') await this.#suffer(mishap)
    return result
  }

  async #suffer({ call, what }: Mishap): Promise<void> {
    if (what === 'fails') throw new Error(`${call} fails`)
    await new Promise<void>((resolve, reject) => {
      this.parked.push({ resume: resolve, drop: () => reject(new Error('The process is dead')) })
    })
  }
}
