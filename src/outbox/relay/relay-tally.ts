import type { Clock } from '../../kernel/clock.ts'
import { RecentRate } from '../../kernel/recent-rate.ts'
import { errorText } from '../publishing/retry-policy.ts'
import type { RelayRates } from '../store/relay-rates.ts'
import type { RelayPause, SignOfLife } from '../store/sign-of-life.ts'
import type { RelayCounts } from './batch-settler.ts'
import type { RelayListeners } from './relay-events.ts'

/** A pause's reason travels with each sign of life, in characters. */
const reasonLength = 500

/** Counts what a relay tells, and keeps what it waits for. */
export class RelayTally implements SignOfLife {
  #counts: RelayCounts = { published: 0, retried: 0, deadLettered: 0 }
  /** By their causes, in the order in which they began: the database may go while the publisher is away. */
  readonly #pauses = new Map<RelayPause['cause'], RelayPause>()
  readonly #awaited = new Set<RelayPause['cause']>()
  readonly #rates: Readonly<Record<keyof RelayRates, RecentRate>>

  constructor(listeners: RelayListeners, clock: Clock) {
    const rates = { published: new RecentRate(clock), retried: new RecentRate(clock), deadLettered: new RecentRate(clock) }
    this.#rates = rates
    const add = (name: keyof RelayCounts, count: number) => {
      this.#counts = { ...this.#counts, [name]: this.#counts[name] + count }
      rates[name].add(count)
    }
    listeners.on('published', ({ events }) => add('published', events.length))
    listeners.on('retried', () => add('retried', 1))
    listeners.on('deadLettered', () => add('deadLettered', 1))
    listeners.on('paused', ({ cause, error }) => {
      this.#awaited.add(cause)
      const since = new Date(clock.wall?.() ?? Date.now())
      this.#pauses.set(cause, { cause, since, error: errorText(error).slice(0, reasonLength).toWellFormed() })
    })
    listeners.on('resumed', ({ cause }) => {
      this.#pauses.delete(cause)
      this.#awaited.delete(cause)
    })
  }

  get counts(): RelayCounts {
    return this.#counts
  }

  get rates(): RelayRates {
    const { published, retried, deadLettered } = this.#rates
    return { published: published.perSecond, retried: retried.perSecond, deadLettered: deadLettered.perSecond }
  }

  get paused(): RelayPause | undefined {
    return [...this.#pauses.values()].at(-1)
  }

  /** What went, also in a run before this one, and was not told to be back. */
  get awaited(): ReadonlySet<RelayPause['cause']> {
    return this.#awaited
  }

  /** Forgets what the relay waited for. */
  goesOn(): void {
    this.#pauses.clear()
  }
}
