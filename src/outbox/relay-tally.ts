import type { RelayCounts } from './batch-settler.ts'
import type { RelayListeners } from './relay-events.ts'

/** Counts what a relay tells. */
export class RelayTally {
  #counts: RelayCounts = { published: 0, retried: 0, deadLettered: 0 }
  #paused: 'publisher' | 'database' | undefined

  constructor(listeners: RelayListeners) {
    const add = (name: keyof RelayCounts, count: number) => {
      this.#counts = { ...this.#counts, [name]: this.#counts[name] + count }
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

  get paused(): 'publisher' | 'database' | undefined {
    return this.#paused
  }
}
