import { DataAccessError } from '../errors.ts'
import type { Logger } from './logger.ts'
import { nearestName } from './nearest-name.ts'
import { describeValue } from './options.ts'

/** Holds the listeners of typed events. One that throws or rejects is logged and disturbs nobody. */
export class Listeners<Events> {
  readonly #listeners = new Map<keyof Events, Set<(event: never) => void>>()
  readonly #logger: Logger
  readonly #owner: string
  readonly #names: readonly string[]

  /**
   * @param owner names whose events they are, in the log.
   * @param names of all events that are told: a listener of another name would wait for ever.
   */
  constructor(owner: string, names: Readonly<Record<keyof Events & string, true>>, logger: Logger) {
    this.#owner = owner
    this.#names = Object.keys(names)
    this.#logger = logger
  }

  /** Adds a listener; the function returned removes it. @throws DataAccessError `OPTION_INVALID` for an event that is never told. */
  on<Name extends keyof Events>(name: Name, listener: (event: Events[Name]) => void): () => void {
    this.#require(name, listener)
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
        // Also an async function may stand where nothing is returned.
        const returned = (listener as (event: Events[Name]) => unknown)(event)
        if (returned instanceof Promise) returned.catch((error: unknown) => this.#failed(name, error))
      } catch (error) {
        this.#failed(name, error)
      }
    }
  }

  #failed(name: keyof Events, error: unknown): void {
    this.#logger.error(`A listener of the ${this.#owner}'s event ${String(name)} threw`, { error })
  }

  #require(name: unknown, listener: unknown): void {
    if (!this.#names.includes(name as string)) {
      const near = typeof name === 'string' ? nearestName(name, this.#names) : undefined
      const hint = near === undefined ? '' : `; did you mean "${near}"?`
      throw new DataAccessError(
        'OPTION_INVALID',
        `on: the ${this.#owner} tells no event ${describeValue(name)}${hint || '.'} It tells ${this.#names.join(', ')}`,
      )
    }
    if (typeof listener === 'function') return
    throw new DataAccessError(
      'OPTION_INVALID',
      `on: the listener of "${String(name)}" is ${describeValue(listener)}; give a function`,
    )
  }
}
