import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Invalidation } from '../../../src/cache/invalidation.ts'
import { MemoryStore } from '../../../src/cache/memory/memory-store.ts'
import { silentLogger } from '../../../src/kernel/logger.ts'

/** A store whose invalidations wait for the test to let them through or fail them. */
function openHeldStore() {
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
    before: async () => undefined,
  }
  const invalidation = new Invalidation({ store, keys, logger, scopeOf: () => undefined, fence: () => undefined })
  const fail = async (...keys: string[]) => {
    const expired = invalidation.expire(new Set(keys))
    held.shift()?.answer(false)
    await expired
  }
  return { invalidation, held, warnings, fail }
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
  expect(invalidation.settled()).toBe(false)
  expect(held[0]?.keys).toEqual(['one', 'two'])
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

test('too many keys to remember become those few that expire everything', async () => {
  const { invalidation, held, fail } = openHeldStore()
  await fail(...Array.from({ length: 10_001 }, (_, i) => `key ${i}`))
  expect(invalidation.figures().waiting).toBe(1)
  expect(invalidation.settled()).toBe(false)
  expect(held[0]?.keys).toEqual(['everything'])
})
