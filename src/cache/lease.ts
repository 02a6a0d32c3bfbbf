import { LRUCache } from 'lru-cache'
import type { Clock } from '../kernel/clock.ts'

/** How long others wait for the holder of a lease before they load for themselves, without keeping the result. */
export const leaseWaitMs = 250

/** The first pause between looks while they wait; each is twice the one before. */
export const firstPollMs = 4

/** The longest of these pauses. */
export const longestPollMs = 32

/** How long a process whose load has failed leaves the entry to others: who waits for it looks again within that time. */
const standBackMs = 50

/** Bounds of {@link leaseMs}, and what it is before the first load. */
const least = 2_000
const most = 10_000
const unknown = 5_000

/** How long a row of loads that fail is waited for: as long as a lease of somebody who died. */
export const longestWaitMs = most

/** How long a store tells of a failure, unless somebody loads the entry before: no longer does anybody wait. */
export const failureMs = longestWaitMs + leaseWaitMs

/** Enough for what can be orphaned at once by a process that dies while it loads long lists. */
const mostOverdue = 10_000

/** Enough for what fails within a moment. */
const mostFailures = 10_000

/**
 * How long a lease lasts when its holder does not come back: ten times what loads have lately taken, so that few have to renew it, and
 * not for long, since a lease that outlives its holder keeps everyone else from filling.
 */
export function leaseMs(recentLoadMs: number | undefined): number {
  return recentLoadMs === undefined ? unknown : Math.round(Math.min(most, Math.max(least, 10 * recentLoadMs)))
}

/** Leases for which somebody here has waited in vain. Their holders died, or are slow: nobody here waits for them again. */
export class OverdueLeases {
  readonly #tokens = new LRUCache<string, true>({ max: mostOverdue })

  add(token: string): void {
    this.#tokens.set(token, true)
  }

  has(token: string): boolean {
    return this.#tokens.has(token)
  }
}

/** Entries whose load has just failed here, and which are left to other processes for a moment. */
export class OwnFailures {
  readonly #clock: Clock
  readonly #ends = new LRUCache<string, number>({ max: mostFailures })

  constructor(clock: Clock) {
    this.#clock = clock
  }

  add(key: string): void {
    this.#ends.set(key, this.#clock.now() + standBackMs)
  }

  has(key: string): boolean {
    const end = this.#ends.get(key)
    return end !== undefined && this.#clock.now() < end
  }
}
