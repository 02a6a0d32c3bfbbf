import type { CacheStore, Lease } from './cache-store.ts'

/** A load that takes longer is taken for one that hangs: its lease ends, and the next reader loads beside it. */
export const longestLoadMs = 60_000

/**
 * Renews leases while what they were granted for is loading, each time when half of their time is over. So a load keeps its lease, and who
 * comes later shares it. The function returned ends that.
 *
 * @param failed is told what the store did not answer: then the leases may end before the load.
 */
export function renewLeases(
  store: CacheStore,
  leases: readonly Lease[],
  leaseMs: number,
  failed: (error: unknown) => void,
): () => void {
  const giveUpAt = performance.now() + longestLoadMs
  const renew = async () => {
    if (performance.now() >= giveUpAt) return clearInterval(timer)
    try {
      await store.renew(leases, leaseMs)
    } catch (error) {
      failed(error)
    }
  }
  const timer = setInterval(renew, leaseMs / 2).unref()
  return () => clearInterval(timer)
}
