import { expect, test } from 'vitest'
import { FigureCounter } from '../../../src/cache/figures.ts'
import { leaseMs } from '../../../src/cache/lease.ts'
import { MemoryStore } from '../../../src/cache/memory/memory-store.ts'
import { ReadThrough } from '../../../src/cache/read-through.ts'

const request = { key: 'Author:1', stamps: [], version: '1', keepMs: 60_000, staleMs: 0, probe: 0 }

/** A cache on a clock that jumps to the end of every wait. */
function openReads() {
  let now = 0
  const waits: number[] = []
  const clock = {
    now: () => now,
    wait: async (ms: number) => {
      waits.push(ms)
      now += ms
    },
  }
  const store = new MemoryStore({ maxEntries: 100, clock })
  const reads = new ReadThrough({ store, clock, settled: () => true, graceMs: 1000 })
  const figures = new FigureCounter()
  const load = async () => [{ payload: '"row"', ttlMs: 60_000 }]
  return {
    read: async () => (await reads.read([request], load, figures))[0],
    /** Somebody takes the lease and is never heard of again. */
    orphan: (token: string) => store.acquire([{ ...request, token, seen: undefined }], 5000),
    pass: (ms: number) => {
      now += ms
    },
    store,
    waits,
    figures,
  }
}

test('who meets an orphaned lease waits for a bounded time, and who comes later does not wait', async () => {
  const { read, orphan, waits, figures } = openReads()
  await orphan('dead')
  expect(await read()).toBe('"row"')
  const waited = waits.reduce((sum, ms) => sum + ms)
  expect(waited).toBeGreaterThanOrEqual(250)
  expect(waited).toBeLessThan(300)
  waits.length = 0
  expect(await read()).toBe('"row"')
  expect(await read()).toBe('"row"')
  expect(waits.length).toBeLessThanOrEqual(2) // each looks once more
  expect(figures.loads).toBe(3)
})

test('the lease of another holder is waited for again', async () => {
  const { read, orphan, store, waits } = openReads()
  await orphan('dead')
  await read()
  await store.invalidate([request.key])
  await orphan('slow')
  waits.length = 0
  await read()
  expect(waits.reduce((sum, ms) => sum + ms)).toBeGreaterThanOrEqual(250)
})

test('once the orphaned lease has ended the entry is filled again', async () => {
  const { read, orphan, pass, figures } = openReads()
  await orphan('dead')
  await read()
  pass(5000)
  await read()
  const { loads } = figures
  await read()
  expect(figures.loads).toBe(loads)
  expect(figures.hits).toBe(1)
})

test('a lease lasts for ten times what loads took lately, within bounds', () => {
  expect([undefined, 1, 300, 5000].map(leaseMs)).toEqual([5000, 2000, 3000, 10_000])
})
