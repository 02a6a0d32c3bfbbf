import { beforeEach, describe, expect, test } from 'vitest'
import { FigureCounter } from '../../../src/cache/figures.ts'
import { leaseWaitMs, longestPollMs, longestWaitMs } from '../../../src/cache/lease.ts'
import { MemoryStore } from '../../../src/cache/memory/memory-store.ts'
import { ReadThrough } from '../../../src/cache/read-through.ts'

const request = { key: 'Author:1', stamps: ['Author#*'], version: '1', keepMs: 60_000, staleMs: 0, probe: 0 }
const leaseMs = 60_000

/** A cache on a clock that jumps to the end of every wait, and another process, which does something at each. */
function open({ shared = true } = {}) {
  let now = 0
  const onWait = { run: async () => {} }
  const clock = {
    now: () => now,
    wait: async (ms: number) => {
      now += ms
      await onWait.run()
    },
  }
  const store = new MemoryStore({ maxEntries: 100, clock })
  const reads = new ReadThrough({ store, clock, settled: () => true, graceMs: 1000, shared })
  const figures = new FigureCounter()
  const database = { fails: false }
  const loadedAt: number[] = []
  const load = async () => {
    loadedAt.push(now)
    if (database.fails) throw new Error('the database failed')
    return [{ payload: 'row', ttlMs: 60_000 }]
  }
  const { key, version } = request
  let leases = 0
  let held = { token: '', stamps: [] as readonly string[] }
  const other = {
    /** Takes the lease; tells whether it was free. */
    lease: async () => {
      leases += 1
      const token = `other ${leases}`
      const [stamps] = await store.acquire([{ ...request, token, seen: undefined }], leaseMs)
      if (stamps !== undefined) held = { token, stamps }
      return stamps !== undefined
    },
    fail: () => store.fill([{ key, version, ...held, payload: undefined, failed: true, ttlMs: 1000 }]),
    fill: (payload: string) => store.fill([{ key, version, ...held, payload, ttlMs: 60_000 }]),
    invalidate: () => store.invalidate([key]),
  }
  /** Does the next step of the other process each time that it is due. */
  const every = (ms: number, step: () => Promise<unknown>) => {
    let next = now + ms
    onWait.run = async () => {
      for (; now >= next; next += ms) await step()
    }
  }
  return {
    ...{ store, database, loadedAt, other, every, onWait },
    now: () => now,
    pass: (ms: number) => {
      now += ms
    },
    read: async () => (await reads.read([request], load, figures))[0],
  }
}

describe('who waits for what another process loads', () => {
  let ground: ReturnType<typeof open>
  const failAndBegin = async () => {
    await ground.other.fail()
    await ground.other.lease()
  }
  const invalidateAndBegin = async () => {
    await ground.other.invalidate()
    await ground.other.lease()
  }
  const endsBetween = async (least: number, most: number) => {
    const begunAt = ground.now()
    expect(await ground.read()).toBe('row')
    expect(ground.now() - begunAt).toBeGreaterThanOrEqual(least)
    expect(ground.now() - begunAt).toBeLessThan(most)
  }
  beforeEach(async () => {
    ground = open()
    await ground.other.lease()
  })

  test('waits anew for each load that follows one that failed', async () => {
    const { every, other, read, loadedAt, now } = ground
    every(100, () => (now() < 3000 ? failAndBegin() : other.fill('filled')))
    expect(await read()).toBe('filled')
    expect(loadedAt).toEqual([])
  })

  test('waits for a row of loads that invalidations end no longer than for one', async () => {
    ground.every(100, invalidateAndBegin)
    await endsBetween(leaseWaitMs, 300)
  })

  test('waits for such a row that follows a failure no longer than for one', async () => {
    ground.every(100, () => (ground.now() < 1000 ? failAndBegin() : invalidateAndBegin()))
    await endsBetween(900 + leaseWaitMs, 1000 + 300)
  })

  test('waits for whom it has not met while an answer of the store was on its way', async () => {
    const { every, other, store, read, loadedAt, now, pass } = ground
    const find = store.read
    let late = false
    store.read = async (requests) => {
      const found = await find.call(store, requests)
      if (now() >= 60 && !late) {
        late = true
        await failAndBegin()
        pass(leaseWaitMs)
        every(100, () => other.fill('filled'))
      }
      return found
    }
    expect(await read()).toBe('filled')
    expect(loadedAt).toEqual([])
  })

  test('gives up after ten seconds, and then as before', async () => {
    ground.every(120, failAndBegin)
    await endsBetween(longestWaitMs, longestWaitMs + 300)
    // The load that was under way then was not waited for in vain.
    await endsBetween(longestWaitMs, longestWaitMs + 300)
  })

  test('waits once for one who died after a failure', async () => {
    const { every, onWait, now } = ground
    every(100, async () => {
      await failAndBegin()
      if (now() >= 500) onWait.run = async () => {}
    })
    await endsBetween(500 + leaseWaitMs, 500 + 350)
    await endsBetween(0, 1)
  })

  test('waits for whom somebody else overtakes as its own wait ends', async () => {
    const { every, other, store, read, loadedAt } = ground
    const { acquire } = store
    store.acquire = async (requests, ms) => {
      store.acquire = acquire
      await other.lease()
      return acquire.call(store, requests, ms)
    }
    every(leaseWaitMs, async () => {
      every(200, () => other.fill('filled'))
      await other.fail()
    })
    expect(await read()).toBe('filled')
    expect(loadedAt).toEqual([])
  })
})

describe('a process whose load has failed', () => {
  const opened = async (options?: { readonly shared: boolean }) => {
    const ground = open(options)
    ground.database.fails = true
    await expect(ground.read()).rejects.toThrow('the database failed')
    ground.database.fails = false
    expect(ground.loadedAt).toEqual([0])
    return ground
  }

  test('leaves the entry to whoever waits for it', async () => {
    const { read, onWait, now, other, loadedAt } = await opened()
    onWait.run = async () => {
      if (now() < longestPollMs) return
      onWait.run = async () => {
        await other.fill('filled')
      }
      expect(await other.lease()).toBe(true)
    }
    expect(await read()).toBe('filled')
    expect(loadedAt).toEqual([0])
  })

  test('loads it once nobody has come', async () => {
    const { read, loadedAt } = await opened()
    expect(await read()).toBe('row')
    expect(loadedAt[1]).toBeGreaterThan(longestPollMs)
    expect(loadedAt[1]).toBeLessThan(leaseWaitMs)
  })

  test('loads it at once where an invalidation has come between, or nobody else is', async () => {
    const { read, other, loadedAt } = await opened()
    await other.invalidate()
    expect(await read()).toBe('row')
    expect(loadedAt).toEqual([0, 0])
    const alone = await opened({ shared: false })
    expect(await alone.read()).toBe('row')
    expect(alone.loadedAt).toEqual([0, 0])
  })
})
