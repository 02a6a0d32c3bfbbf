import { expect, test } from 'vitest'
import type { EntryRequest, LeaseRequest } from '../../../src/cache/cache-store.ts'
import { FigureCounter } from '../../../src/cache/figures.ts'
import { leaseWaitMs } from '../../../src/cache/lease.ts'
import { MemoryStore } from '../../../src/cache/memory/memory-store.ts'
import { ReadThrough } from '../../../src/cache/read-through.ts'

const request = { key: 'Author:1', stamps: ['Author#*'], version: '1', keepMs: 60_000, staleMs: 0, probe: 0 }
const leaseMs = 5000

/** A store that answers its fourth look some turns later, and in which somebody else can be the first to take a lease. */
class ContestedStore extends MemoryStore {
  rivals = 0
  turns = 0
  #looks = 0

  override async acquire(requests: readonly LeaseRequest[], ms: number): Promise<readonly (readonly string[] | undefined)[]> {
    if (this.rivals-- > 0) {
      await super.acquire(
        requests.map((each) => ({ ...each, token: 'rival' })),
        leaseMs,
      )
    }
    return super.acquire(requests, ms)
  }

  override read: MemoryStore['read'] = async (requests: readonly EntryRequest[]) => {
    const found = await MemoryStore.prototype.read.call(this, requests)
    this.#looks += 1
    for (let turn = 0; this.#looks === 4 && turn < this.turns; turn++) await undefined
    return found
  }
}

test.each(Array.from({ length: 10 }, (_, turns) => turns))(
  'two readers whose lease is given up and taken by somebody else wait for that one too, however late the second hears of it: %i',
  async (turns) => {
    let now = 0
    let waiting = 0
    const [bothWait, givenUp] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const clock = {
      now: () => now,
      wait: async (ms: number) => {
        waiting += 1
        if (waiting === 2) bothWait.resolve()
        if (waiting <= 2) return givenUp.promise
        await new Promise((resolve) => setImmediate(resolve))
        now += ms
      },
    }
    const store = new ContestedStore({ maxEntries: 100, clock })
    store.turns = turns
    const reads = new ReadThrough({ store, clock, settled: () => true, graceMs: 1000 })
    const loadedAt: number[] = []
    const load = async () => {
      loadedAt.push(now)
      return [{ payload: 'row', ttlMs: 60_000 }]
    }
    const read = () => reads.read([request], load, new FigureCounter())
    const [stamps] = (await store.acquire([{ ...request, token: 'first', seen: undefined }], leaseMs)) as [readonly string[]]

    const reading = [read(), read()]
    await bothWait.promise
    store.rivals = 1
    await store.fill([{ key: request.key, version: '1', token: 'first', stamps, payload: undefined, ttlMs: 1 }])
    givenUp.resolve()
    expect(await Promise.all(reading)).toEqual([['row'], ['row']])
    expect(Math.min(...loadedAt)).toBeGreaterThanOrEqual(leaseWaitMs)
  },
)
