import { LRUCache } from 'lru-cache'
import type { Clock } from '../kernel/clock.ts'

/** So long a result is known not to be one that can be kept. */
const knownMs = 5000
const most = 1000

/**
 * The results of one query that could not be kept lately, by their keys: to ask the cache for one would cost its readers a lease, and
 * those of other processes the wait for it, and lead to nothing.
 */
export class UncacheableResults {
  readonly #until = new LRUCache<string, number>({ max: most })
  readonly #clock: Clock

  constructor(clock: Clock) {
    this.#clock = clock
  }

  has(key: string): boolean {
    const until = this.#until.get(key)
    return until !== undefined && until > this.#clock.now()
  }

  add(key: string): void {
    this.#until.set(key, this.#clock.now() + knownMs)
  }
}
