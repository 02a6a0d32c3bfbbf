import { LRUCache } from 'lru-cache'

/** How long others wait for the holder of a lease before they load for themselves, without keeping the result. */
export const leaseWaitMs = 250

/** The first pause between looks while they wait; each is twice the one before. */
export const firstPollMs = 4

/** Bounds of {@link leaseMs}, and what it is before the first load. */
const least = 2_000
const most = 10_000
const unknown = 5_000

/** Enough for what can be orphaned at once by a process that dies while it loads long lists. */
const mostOverdue = 10_000

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
