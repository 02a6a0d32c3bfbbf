import { expect, test } from 'vitest'
import { completeLifetime, jitteredTtl, keeping } from '../../../src/cache/policy.ts'

test('whatever a store is asked to keep it keeps for whole milliseconds, and stamps as long as entries', () => {
  for (const lifetime of [{ ttl: 86_400_000 / 7 }, { ttl: 1000 / 3, serveStale: 2000 / 3 }, { ttl: 1.5, serveStale: 0.4 }]) {
    const complete = completeLifetime({ ...lifetime, jitter: 0 })
    const { keepMs, staleMs } = keeping(complete)
    const ttlMs = jitteredTtl(complete, false)
    expect([keepMs, staleMs, ttlMs].every(Number.isInteger)).toBe(true)
    expect(keepMs).toBeGreaterThanOrEqual(ttlMs + staleMs)
  }
})
