import { expect, test } from 'vitest'
import { FigureCounter } from '../../../src/cache/figures.ts'
import type { Load } from '../../../src/cache/load.ts'
import { MemoryStore } from '../../../src/cache/memory/memory-store.ts'
import { ReadThrough } from '../../../src/cache/read-through.ts'
import { monotonicClock } from '../../../src/kernel/clock.ts'

class ForgetfulStore extends MemoryStore {
  override read: MemoryStore['read'] = async () => []
}

test('a store that answers less than it was asked is told of, and the database answers all readers', async () => {
  const store = new ForgetfulStore({ maxEntries: 10 })
  const reads = new ReadThrough({ store, clock: monotonicClock, settled: () => true, graceMs: 1000 })
  const figures = new FigureCounter()
  const failures: string[] = []
  figures.listeners.on('storeFailed', ({ error }) => void failures.push(error.message))
  const requests = [1, 2].map((id) => ({ key: `E:${id}`, stamps: [], version: '1', keepMs: 1000, staleMs: 0, probe: 0 }))
  const load: Load = async (missing) => missing.map(({ key }) => ({ payload: key, ttlMs: 1000 }))
  for (let round = 0; round < 2; round++) expect(await reads.read(requests, load, figures)).toEqual(['E:1', 'E:2'])
  expect(failures).toEqual(Array.from({ length: 2 }, () => 'The cache store memory answered 0 of 2 requests'))
})
