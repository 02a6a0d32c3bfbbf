import { type Admission, CircuitBreaker } from '../../kernel/circuit-breaker.ts'
import type { Clock } from '../../kernel/clock.ts'
import { toError } from '../../kernel/thrown-error.ts'
import type { RelayListeners } from './relay-events.ts'

/** One failure opens the breaker, since the publisher itself said that its broker is away; one event a second probes it. */
const rule = { failures: 1, openMs: 1000 }

/** A publisher's outage: while it lasts nothing is published but single probes. */
export class Outage {
  readonly #breaker: CircuitBreaker
  readonly #clock: Clock
  readonly #listeners: RelayListeners
  #since: number | undefined
  #openMs = rule.openMs
  #error: unknown
  /** A pause was told, and not its end. */
  #told: boolean

  /** @param told a run before this one told a pause, and not its end. */
  constructor(clock: Clock, listeners: RelayListeners, told = false) {
    this.#told = told
    this.#breaker = new CircuitBreaker(rule, clock)
    this.#clock = clock
    this.#listeners = listeners
  }

  /** Nothing may be tried now. */
  get open(): boolean {
    return this.#breaker.state === 'open'
  }

  /** One event may be tried, to see whether the broker is back. */
  get probing(): boolean {
    return this.#breaker.state === 'half-open'
  }

  get error(): unknown {
    return this.#error
  }

  /** Milliseconds until the next probe. */
  get waitMs(): number {
    return this.#since === undefined ? 0 : Math.max(1, this.#openMs - (this.#clock.now() - this.#since))
  }

  admit(): Admission {
    return this.#breaker.admit() ?? { kind: 'attempt', at: this.#clock.now() }
  }

  /**
   * The broker is away. A stop that cut the publishing off looks the same and is not told.
   *
   * @param afterMs for how long nothing shall be tried, if that is longer than usual.
   */
  began(admission: Admission, error: unknown, stopped: boolean, afterMs = 0): void {
    const first = this.#since === undefined
    this.#openMs = Math.max(rule.openMs, afterMs)
    this.#breaker.failed(admission, this.#openMs)
    this.#since = this.#clock.now()
    this.#error = error
    if (!first || stopped) return
    this.#told = true
    this.#listeners.tell('paused', { cause: 'publisher', error: toError(error) })
  }

  /** Nothing was tried after all, so that nothing is known. */
  unused(admission: Admission): void {
    this.#breaker.unused(admission)
  }

  /** Nothing is due, so nothing waits for the broker; whether it is back is still found out by a single event. */
  nothingWaits(): void {
    if (!this.probing) return
    this.#since = undefined
    this.#tellEnd()
  }

  /** The broker answered. */
  ended(): void {
    this.#breaker.succeeded()
    this.#since = undefined
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
