import type { Clock } from './clock.ts'

/** `closed` lets all through, `open` none, `half-open` one at a time to see whether the other side is back. */
export type CircuitState = 'closed' | 'open' | 'half-open'

/** When a {@link CircuitBreaker} opens, and for how long. */
export interface CircuitBreakerOptions {
  /** Failures in a row that open it. */
  readonly failures: number
  /** Milliseconds for which it lets nothing through before it tries one. */
  readonly openMs: number
}

/**
 * Counts failures in a row and, past a limit, refuses at once what would only wait and fail. It does no I/O: ask
 * {@link admit} before each attempt, and tell it how each admitted attempt ended.
 */
export class CircuitBreaker {
  readonly #options: CircuitBreakerOptions
  readonly #clock: Clock
  #failures = 0
  #openedAt: number | undefined
  #probing = false

  constructor(options: CircuitBreakerOptions, clock: Clock) {
    this.#options = options
    this.#clock = clock
  }

  get state(): CircuitState {
    if (this.#openedAt === undefined) return 'closed'
    return this.#clock.now() - this.#openedAt < this.#options.openMs ? 'open' : 'half-open'
  }

  /** Tells whether an attempt may go ahead, and as what. In the half-open state exactly one attempt is the probe. */
  admit(): 'attempt' | 'probe' | 'refused' {
    const state = this.state
    if (state === 'closed') return 'attempt'
    if (state === 'open' || this.#probing) return 'refused'
    this.#probing = true
    return 'probe'
  }

  /** The other side answered. */
  succeeded(): void {
    this.#failures = 0
    this.#openedAt = undefined
    this.#probing = false
  }

  /** The other side did not answer. A late failure of an attempt from before the opening does not prolong it. */
  failed(admission: 'attempt' | 'probe'): void {
    if (admission === 'probe') {
      this.#probing = false
      this.#openedAt = this.#clock.now()
    } else if (this.#openedAt === undefined && ++this.#failures >= this.#options.failures) {
      this.#openedAt = this.#clock.now()
    }
  }
}
