import fc from 'fast-check'
import { Redis } from 'ioredis'
import { afterEach, describe, expect, inject, test } from 'vitest'
import { FuzzCase } from '../support/cache-fuzz-case.ts'
import { fuzzSteps } from '../support/cache-fuzz-steps.ts'
import { FuzzWorld } from '../support/cache-fuzz-world.ts'

const soak = process.env.SOAK === '1'
const opened: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close()
})

/** A database of the Redis server that belongs to this file, so that it can be flushed. */
function ownRedis(): string {
  const url = new URL(inject('redisUrl'))
  url.pathname = '/15'
  return url.href
}

describe.each([
  { store: 'memory', processes: 1, copies: false, whose: '', numRuns: soak ? 5_000 : 150 },
  { store: 'redis', processes: 2, copies: false, whose: '', numRuns: soak ? 5_000 : 150 },
  // A case takes three times as long.
  { store: 'redis', processes: 2, copies: true, whose: ', and copies in each', numRuns: soak ? 5_000 : 50 },
] as const)('caches of $processes processes with the $store store$whose', ({ store, processes, copies, whose, numRuns }) => {
  test('whatever waits, fails, crashes and is flushed: no read gives less than what was committed before it began', {
    // Some 100 ms for each case, with tenfold slack.
    timeout: 60_000 + numRuns * 1000,
  }, async () => {
    const world = await FuzzWorld.open(store, processes, ownRedis(), copies)
    opened.push(() => world.close())
    const client = new Redis(ownRedis())
    opened.push(async () => client.disconnect())
    const flushAll = async () => void (await (store === 'memory' ? world.store.close() : client.flushdb()))
    const present = async (keys: readonly string[]) => {
      if (store === 'memory') return keys
      const texts = await client.mget(keys.map((key) => `${world.ground.prefix}${key}`))
      return keys.filter((_, index) => texts[index] !== null)
    }
    const evict = async (keys: readonly string[], which: number) => {
      const there = await present(keys)
      const key = there[which % there.length]
      if (key === undefined) return
      evicted.add(key.replace(/[0-9a-f]{8}-.*/, ''))
      await (store === 'memory' ? world.store.invalidate([key]) : client.unlink(`${world.ground.prefix}${key}`))
    }
    const evicted = new Set<string>()
    let [compared, cases] = [0, 0]
    const holds = async (steps: Parameters<FuzzCase['run']>[0]) => {
      const one = new FuzzCase(world, { flushAll, evict })
      await one.run(steps)
      cases += 1
      compared += one.compared
      expect(one.complaints).toEqual([])
    }
    await fc.assert(fc.asyncProperty(fuzzSteps(processes, 12, copies), holds), { numRuns })
    console.log(`fuzz with the ${store} store${whose}: ${compared} answers compared in ${cases} cases, 0 stale`)
    expect(compared).toBeGreaterThan(numRuns)
    // Some of rows, lookups, results of queries, and stamps.
    expect(evicted.size).toBeGreaterThan(1)
  })
})
