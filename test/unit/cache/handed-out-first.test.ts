import { expect, test } from 'vitest'
import type { Fill } from '../../../src/cache/cache-store.ts'
import { FigureCounter } from '../../../src/cache/figures.ts'
import type { Load } from '../../../src/cache/load.ts'
import { MemoryStore } from '../../../src/cache/memory/memory-store.ts'
import { ReadThrough } from '../../../src/cache/read-through.ts'
import { ManualClock } from '../../../src/testing/manual-clock.ts'

const request = { key: 'Author:1', stamps: ['Author#*'], version: '1', keepMs: 60_000, staleMs: 0, probe: 0 }

/** A store whose fills are on their way until they are let arrive. */
class SlowlyFilledStore extends MemoryStore {
  readonly #arrival = Promise.withResolvers<void>()
  readonly arrive = () => this.#arrival.resolve()

  override async fill(fills: readonly Fill[]): Promise<readonly boolean[]> {
    await this.#arrival.promise
    return super.fill(fills)
  }
}

function open() {
  const clock = new ManualClock()
  const store = new SlowlyFilledStore({ maxEntries: 100, clock })
  const reads = new ReadThrough({ store, clock, settled: () => true, graceMs: 1000 })
  const figures = new FigureCounter()
  let row = 'old'
  const load: Load = async () => [{ payload: row, ttlMs: 60_000 }]
  const commit = async (changed: string) => {
    row = changed
    reads.fence(new Set([request.key]))
    await store.invalidate([request.key])
  }
  return { store, reads, figures, commit, read: async () => (await reads.read([request], load, figures))[0] }
}

test('who loads does not wait for the store, and who finds his lease meanwhile shares what he loaded', async () => {
  const { store, read, figures } = open()
  expect(await read()).toBe('old')
  expect(await read()).toBe('old')
  expect(figures.loads).toBe(1)
  store.arrive()
  await expect.poll(() => store.readNow(request)).toBe('old')
  expect(await read()).toBe('old')
  expect(figures.read()).toMatchObject({ loads: 1, hits: 1, misses: 2, refusedFills: 0 })
})

test('nobody who comes after a commit shares what was loaded before it, and it is not kept', async () => {
  const { store, read, figures, commit } = open()
  expect(await read()).toBe('old')
  await commit('new')
  expect(await read()).toBe('new')
  store.arrive()
  await expect.poll(() => figures.refusedFills).toBe(1)
  expect(await read()).toBe('new')
  expect(store.readNow(request)).toBe('new')
  expect(figures.loads).toBe(2)
})

test('a close waits for what is on its way', async () => {
  const { store, reads, read } = open()
  await read()
  const closing = reads.close().then(() => store.readNow(request))
  store.arrive()
  expect(await closing).toBe('old')
})
