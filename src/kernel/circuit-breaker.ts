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

/** That an attempt may go ahead, and as what; hand it back with the attempt's failure. */
export interface Admission {
  readonly kind: 'attempt' | 'probe'
  readonly at: number
}

/**
 * Counts failures in a row and, past a limit, refuses at once what would only wait and fail. Of attempts that were under way together
 * the failures count as one: they met the same trouble. It does no I/O: ask {@link admit} before each attempt, and tell it how each
 * admitted attempt ended.
 */
export class CircuitBreaker {
  readonly #options: CircuitBreakerOptions
  readonly #clock: Clock
  #failures = 0
  #failedAt = Number.NEGATIVE_INFINITY
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

  /** Admits an attempt, or refuses it by `undefined`. In the half-open state exactly one attempt is admitted, as the probe. */
  admit(): Admission | undefined {
    const state = this.state
    const at = this.#clock.now()
    if (state === 'closed') return { kind: 'attempt', at }
    if (state === 'open' || this.#probing) return undefined
    this.#probing = true
    return { kind: 'probe', at }
  }

  /** The other side answered. */
  succeeded(): void {
    this.#failures = 0
    this.#openedAt = undefined
    this.#probing = false
  }

  /** The other side did not answer. A late failure of an attempt from before the opening does not prolong it. */
  failed({ kind, at }: Admission): void {
    const now = this.#clock.now()
    if (kind === 'probe') {
      this.#probing = false
      this.#openedAt = now
    } else if (this.#openedAt === undefined && at >= this.#failedAt) {
      this.#failedAt = now
      if (++this.#failures >= this.#options.failures) this.#openedAt = now
    }
  }
}
