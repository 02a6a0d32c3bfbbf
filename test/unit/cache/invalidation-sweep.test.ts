import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { InvalidationLog, LoggedInvalidation } from '../../../src/cache/invalidation-log.ts'
import { InvalidationSweep } from '../../../src/cache/invalidation-sweep.ts'
import { redisCache } from '../../../src/cache/redis/redis-cache.ts'
import { silentLogger } from '../../../src/kernel/logger.ts'

// The sweep's time is the test's, so that no bound depends on the machine.
beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }))
afterEach(() => void vi.useRealTimers())

/** A sweep of rows that are in memory; it tells how long each had been committed when it was expired. */
function openSweep(everyMs: number) {
  const rows = new Map<string, number>()
  const ages: number[] = []
  const log = {
    olderThan: async (ageMs: number, limit: number): Promise<LoggedInvalidation[]> => {
      const old = [...rows].filter(([, committedAt]) => performance.now() - committedAt >= ageMs)
      return old.slice(0, limit).map(([id]) => ({ id, keys: [id] }))
    },
    remove: async (ids: readonly string[]) => {
      for (const id of ids) rows.delete(id)
    },
  }
  const expire = async (ids: ReadonlySet<string>) => {
    for (const id of ids) ages.push(performance.now() - (rows.get(id) as number))
  }
  const sweep = new InvalidationSweep({ log: log as unknown as InvalidationLog, expire, everyMs, logger: silentLogger })
  return { sweep, rows, ages }
}

test.each([
  { given: undefined, boundMs: 1000 },
  { given: 200, boundMs: 200 },
  { given: 10_000, boundMs: 10_000 },
])(
  'what is committed at whatever moment is expired within $boundMs ms where sweepMs is $given, and not before half of it',
  async ({ given, boundMs }) => {
    const choice = redisCache({ url: 'redis://127.0.0.1', ...(given === undefined ? {} : { sweepMs: given }) })
    const { sweep, rows, ages } = openSweep(choice.sweep?.everyMs as number)
    sweep.start()
    await vi.advanceTimersByTimeAsync(0)
    expect(sweep.caughtUp).toBe(true)
    const commits = 400
    for (let commit = 0; commit < commits; commit++) {
      rows.set(`${commit}`, performance.now())
      // Moments at every distance from a look.
      await vi.advanceTimersByTimeAsync(boundMs / 40 + (commit % 7))
    }
    await vi.advanceTimersByTimeAsync(boundMs)
    expect(ages).toHaveLength(commits)
    expect(Math.max(...ages)).toBeLessThanOrEqual(boundMs)
    // The one who committed it is given so long to do it.
    expect(Math.min(...ages)).toBeGreaterThanOrEqual(boundMs / 2)
    await sweep.stop()
  },
)
