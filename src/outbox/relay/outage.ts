import type { Clock } from '../../kernel/clock.ts'
import { toError } from '../../kernel/thrown-error.ts'
import type { RelayListeners } from './relay-events.ts'

/** For so many ms nothing is tried, since the publisher itself said that its broker is away; then a single event probes it. */
const pauseMs = 1000

/** A publisher's outage: while it lasts nothing is published but single probes. */
export class Outage {
  readonly #clock: Clock
  readonly #listeners: RelayListeners
  /** When the next event may be tried; `undefined` while the broker is known to be there. */
  #until: number | undefined
  /** Something waits for the broker. */
  #waitedFor = false
  #error: unknown
  /** A pause was told, and not its end. */
  #told: boolean

  /** @param told a run before this one told a pause, and not its end. */
  constructor(clock: Clock, listeners: RelayListeners, told = false) {
    this.#told = told
    this.#clock = clock
    this.#listeners = listeners
  }

  /** Nothing may be tried now. */
  get open(): boolean {
    return this.waitMs > 0
  }

  /** One event may be tried, to see whether the broker is back. */
  get probing(): boolean {
    return this.#until !== undefined && !this.open
  }

  get error(): unknown {
    return this.#error
  }

  /** Milliseconds until the next probe; 0 when nothing need be waited for. */
  get waitMs(): number {
    return this.#until === undefined ? 0 : Math.max(0, this.#until - this.#clock.now())
  }

  /**
   * The broker is away. A stop that cut the publishing off looks the same and is not told.
   *
   * @param afterMs for how long nothing shall be tried, if that is longer than usual.
   */
  began(error: unknown, stopped: boolean, afterMs = 0): void {
    const first = !this.#waitedFor
    this.#waitedFor = true
    this.#until = this.#clock.now() + Math.max(pauseMs, afterMs)
    this.#error = error
    if (!first || stopped) return
    this.#told = true
    this.#listeners.tell('paused', { cause: 'publisher', error: toError(error) })
  }

  /** Nothing is due, so nothing waits for the broker; whether it is back is still found out by a single event. */
  nothingWaits(): void {
    if (!this.probing) return
    this.#waitedFor = false
    this.#tellEnd()
  }

  /** The broker answered. */
  ended(): void {
    this.#until = undefined
    this.#waitedFor = false
    this.#error = undefined
    this.#tellEnd()
  }

  #tellEnd(): void {
    if (!this.#told) return
    this.#told = false
    this.#listeners.tell('resumed', { cause: 'publisher' })
  }
}

/** What a database that is away fails: a relay's steps, the mark behind them, or the renewal of leases until none of them holds. */
type DatabaseWork = 'step' | 'mark' | 'lease'

/** An outage of the database, told once, whatever it fails. */
export class DatabaseOutage {
  readonly #listeners: RelayListeners
  readonly #failing = new Map<DatabaseWork, unknown>()

  constructor(listeners: RelayListeners) {
    this.#listeners = listeners
  }

  /** The last error of what fails now; `undefined` while it does not. */
  errorOf(what: DatabaseWork): unknown {
    return this.#failing.get(what)
  }

  began(what: DatabaseWork, error: unknown): void {
    const first = this.#failing.size === 0
    this.#failing.set(what, error)
    if (first) this.#listeners.tell('paused', { cause: 'database', error: toError(error) })
  }

  ended(what: DatabaseWork): void {
    if (this.#failing.delete(what) && this.#failing.size === 0) this.#listeners.tell('resumed', { cause: 'database' })
  }
}
