import type { Clock } from '../../kernel/clock.ts'
import { RecentRate } from '../../kernel/recent-rate.ts'
import type { RelayRates } from '../store/relay-rates.ts'
import type { RelayCounts } from './batch-settler.ts'
import type { RelayListeners } from './relay-events.ts'

/** Counts what a relay tells. */
export class RelayTally {
  #counts: RelayCounts = { published: 0, retried: 0, deadLettered: 0 }
  #paused: 'publisher' | 'database' | undefined
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
    listeners.on('paused', ({ cause }) => {
      this.#paused = cause
    })
    listeners.on('resumed', () => {
      this.#paused = undefined
    })
  }

  get counts(): RelayCounts {
    return this.#counts
  }

  get rates(): RelayRates {
    const { published, retried, deadLettered } = this.#rates
    return { published: published.perSecond, retried: retried.perSecond, deadLettered: deadLettered.perSecond }
  }

  get paused(): 'publisher' | 'database' | undefined {
    return this.#paused
  }
}
