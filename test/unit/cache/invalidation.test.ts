import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Invalidation, type InvalidationParts } from '../../../src/cache/invalidation.ts'
import type { InvalidationLog } from '../../../src/cache/invalidation-log.ts'
import { MemoryStore } from '../../../src/cache/memory/memory-store.ts'
import { silentLogger } from '../../../src/kernel/logger.ts'

const patience = { timeout: 10_000, interval: 5 }

/** A store whose invalidations wait for the test to let them through or fail them. */
function openHeldStore(sweep?: InvalidationParts['sweep']) {
  const store = new MemoryStore({ maxEntries: 100 })
  const held: { keys: readonly string[]; answer: (ok: boolean) => void }[] = []
  store.invalidate = (keys) =>
    new Promise((resolve, reject) => {
      held.push({ keys, answer: (ok) => (ok ? resolve() : reject(new Error('away'))) })
    })
  const warnings: string[] = []
  const logger = { ...silentLogger, warn: (message: string) => void warnings.push(message) }
  const keys = {
    ...{ of: () => [], ofCollection: () => [], ofAttempt: () => [], ofBulk: () => [], all: () => ['everything'] },
    ...{ begin: () => undefined, before: async () => undefined },
  }
  const fences: ReadonlySet<string>[] = []
  const fence = (fenced: ReadonlySet<string>) => void fences.push(fenced)
  const invalidation = new Invalidation({ store, keys, logger, fence, sweep, scopeOf: () => undefined })
  invalidation.start()
  const fail = async (...keys: string[]) => {
    const expired = invalidation.expire(new Set(keys))
    held.shift()?.answer(false)
    await expired
  }
  return { invalidation, held, fences, warnings, fail }
}

test('what was not acknowledged is swept before the store is trusted again', async () => {
  const { invalidation, held, warnings, fail } = openHeldStore()
  expect(invalidation.settled()).toBe(true)
  await fail('one')
  await fail('two')
  expect(warnings).toHaveLength(1)
  expect(invalidation.figures()).toMatchObject({ unacknowledged: 2, waiting: 2 })
  expect(invalidation.settled()).toBe(false)
  held.shift()?.answer(false)
  await turn()
  expect(invalidation.figures().waiting).toBe(2)
  await expect.poll(() => invalidation.settled() || held[0]?.keys, patience).toEqual(['one', 'two'])
  held.shift()?.answer(true)
  await turn()
  expect(invalidation.settled()).toBe(true)
  expect(held).toHaveLength(0)
})

test('a key that changes again while it is swept waits for another sweep', async () => {
  const { invalidation, held, fail } = openHeldStore()
  await fail('one')
  expect(invalidation.settled()).toBe(false)
  const running = held.shift()
  await fail('one')
  running?.answer(true)
  await turn()
  expect(invalidation.figures().waiting).toBe(1)
  expect(invalidation.settled()).toBe(false)
  expect(held[0]?.keys).toEqual(['one'])
})

test('no reader waits for a sweep, and none is told that all is settled while one runs', async () => {
  const { invalidation, held, fail } = openHeldStore()
  await fail('one')
  expect([invalidation.settled(), invalidation.settled()]).toEqual([false, false])
  expect(held).toHaveLength(1)
  held[0]?.answer(true)
  await turn()
  expect(invalidation.settled()).toBe(true)
})

test('while the store is away it is asked now and then, not by each reader', async () => {
  const { invalidation, held, fail } = openHeldStore()
  await fail('one')
  expect(invalidation.settled()).toBe(false)
  held.shift()?.answer(false)
  await turn()
  for (let reader = 0; reader < 100; reader++) expect(invalidation.settled()).toBe(false)
  expect(held).toHaveLength(0)
  await expect.poll(() => invalidation.settled() || held.length, patience).toBe(1)
  held.shift()?.answer(true)
  await expect.poll(() => invalidation.settled(), patience).toBe(true)
})

test('the look after what was left before the start holds readers for a second at most', async () => {
  const rows = Promise.withResolvers<[]>()
  const log = { olderThan: () => rows.promise } as unknown as InvalidationLog
  const { invalidation } = openHeldStore({ log, everyMs: 600_000 })
  const startedAt = performance.now()
  const settled = [invalidation.settled(), invalidation.settled()]
  expect(await Promise.all(settled)).toEqual([false, false])
  expect(performance.now() - startedAt).toBeGreaterThan(900)
  const askedAt = performance.now()
  expect(await invalidation.settled()).toBe(false)
  expect(performance.now() - askedAt).toBeLessThan(500)
  rows.resolve([])
  await expect.poll(() => invalidation.settled(), patience).toBe(true)
  await invalidation.close()
})

test('too many keys to remember become those of their entities, then those few that expire everything', async () => {
  const { invalidation, held, fail } = openHeldStore()
  await fail(...Array.from({ length: 501 }, (_, i) => `Author:${i}`), '?query:1')
  expect(invalidation.figures().waiting).toBe(2)
  await fail('Author:1')
  expect(invalidation.settled()).toBe(false)
  expect(held[0]?.keys).toEqual(['Author#*', '?query:1', 'Author:1'])
  held.shift()?.answer(true)
  await expect.poll(() => invalidation.settled(), patience).toBe(true)
  await fail(...Array.from({ length: 501 }, (_, i) => `?query:${i}`))
  expect(invalidation.figures().waiting).toBe(1)
})

test('more keys at once than a store takes in its time expire with all entries of their entities', async () => {
  const { invalidation, held, fences } = openHeldStore()
  const rows = (count: number) => Array.from({ length: count }, (_, i) => `Author:${i}`)
  const expired = [invalidation.expire(new Set(rows(5000))), invalidation.expire(new Set([...rows(5001), 'Book@isbn:1']))]
  expect(held.map(({ keys }) => keys)).toEqual([rows(5000), ['Author#*', 'Book#*']])
  expect(fences.map((fenced) => [...fenced])).toEqual([rows(5000), ['Author#*', 'Book#*']])
  for (const { answer } of held) answer(true)
  expect(await Promise.all(expired)).toEqual([true, true])
})
