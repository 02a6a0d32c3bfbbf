import type { Logger } from './logger.ts'

/** Holds the listeners of typed events. One that throws is logged and disturbs nobody. */
export class Listeners<Events> {
  readonly #listeners = new Map<keyof Events, Set<(event: never) => void>>()
  readonly #logger: Logger
  readonly #owner: string

  /** @param owner names whose events they are, in the log. */
  constructor(owner: string, logger: Logger) {
    this.#owner = owner
    this.#logger = logger
  }

  /** Adds a listener; the function returned removes it. */
  on<Name extends keyof Events>(name: Name, listener: (event: Events[Name]) => void): () => void {
    const set = this.#listeners.get(name) ?? new Set()
    this.#listeners.set(name, set)
    set.add(listener)
    return () => void set.delete(listener)
  }

  /** True if anybody ever listened: for events that cost more to make than to tell. */
  get any(): boolean {
    return this.#listeners.size > 0
  }

  tell<Name extends keyof Events>(name: Name, event: Events[Name]): void {
    for (const listener of this.#listeners.get(name) ?? []) {
      try {
        ;(listener as (event: Events[Name]) => void)(event)
      } catch (error) {
        this.#logger.error(`A listener of the ${this.#owner}'s event ${String(name)} threw`, { error })
      }
    }
  }
}
