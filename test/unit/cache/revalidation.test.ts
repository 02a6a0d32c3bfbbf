import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { FigureCounter } from '../../../src/cache/figures.ts'
import type { Load, ReadRequest } from '../../../src/cache/load.ts'
import { MemoryStore } from '../../../src/cache/memory/memory-store.ts'
import { ReadThrough } from '../../../src/cache/read-through.ts'
import { ManualClock } from '../../../src/testing/manual-clock.ts'

const ttl = 1000
const staleMs = 1000

beforeEach(() => void vi.useFakeTimers({ toFake: ['Date'] }))
afterEach(() => void vi.useRealTimers())

function open() {
  const clock = new ManualClock()
  /** Both clocks go on: that of the store, and the one on the wall, which tells how fresh an entry is. */
  const pass = async (ms: number) => {
    vi.setSystemTime(Date.now() + ms)
    await clock.advance(ms)
  }
  const store = new MemoryStore({ maxEntries: 10_000, clock })
  const openReads = () => new ReadThrough({ store, clock, settled: () => true, graceMs: 1000 })
  return { pass, openReads, reads: openReads(), store, figures: new FigureCounter('cache of E') }
}
const request = (id: number): ReadRequest => ({
  ...{ key: `E:${id}`, stamps: ['E#*'], version: 'v', keepMs: ttl + staleMs, staleMs, probe: 0 },
})
const load: Load = async (requests) => requests.map(() => ({ payload: { n: 1 }, ttlMs: ttl }))

test('an entry that is read anew in time is never missed, however long it is served', async () => {
  const { pass, reads, figures } = open()
  const ids = Array.from({ length: 4 }, (_, id) => id)
  for (let step = 0; step < 40; step++) {
    for (const id of ids) await reads.read([request(id)], load, figures)
    await pass(0.3 * ttl)
  }
  const { misses, stale, loads } = figures.read()
  expect(misses).toBe(ids.length)
  expect(stale).toBeGreaterThan(ids.length)
  expect(loads).toBe(ids.length + stale)
})

/** A load that lasts until it is let go. */
function openSlowLoad() {
  const figures = { running: 0, most: 0, entries: 0 }
  const { promise: finished, resolve: finish } = Promise.withResolvers<void>()
  const slow: Load = async (loading) => {
    figures.entries += loading.length
    figures.most = Math.max(figures.most, ++figures.running)
    await finished
    figures.running--
    return load(loading)
  }
  return { slow, finish, figures }
}

test('entries that are past their ttl and read together are read anew by one load, and stored in one round trip', async () => {
  const { pass, reads, figures, store } = open()
  const requests = Array.from({ length: 100 }, (_, id) => request(id))
  await reads.read(requests, load, figures)
  await pass(1.2 * ttl)
  const fills: number[] = []
  const { fill } = store
  store.fill = (given) => {
    fills.push(given.length)
    return fill.call(store, given)
  }
  const { slow, finish, figures: loads } = openSlowLoad()
  await reads.read(requests, slow, figures)
  // One of them alone is under way already.
  await reads.read([request(1)], slow, figures)
  finish()
  await expect.poll(() => fills).toEqual([100])
  expect(loads).toMatchObject({ most: 1, entries: 100 })
  await reads.read(requests, load, figures)
  expect(figures.read()).toMatchObject({ stale: 101, refusedFills: 0 })
})

test('what is invalidated while it is read anew with others is refused by itself', async () => {
  const { pass, reads, figures } = open()
  const requests = [request(1), request(2), request(3)]
  await reads.read(requests, load, figures)
  await pass(1.2 * ttl)
  const { slow, finish, figures: loads } = openSlowLoad()
  await reads.read(requests, slow, figures)
  await expect.poll(() => loads.running).toBe(1)
  reads.fence(new Set(['E:2']))
  finish()
  await expect.poll(() => figures.read().refusedFills).toBe(1)
  await reads.read([request(1), request(3)], load, figures)
  expect(figures.read().stale).toBe(3)
})

test('many entries that are past their ttl, each read by itself, are read anew a few at a time', async () => {
  const { pass, reads, figures } = open()
  const requests = Array.from({ length: 100 }, (_, id) => request(id))
  await reads.read(requests, load, figures)
  await pass(1.2 * ttl)
  const { slow, finish, figures: loads } = openSlowLoad()
  for (const each of requests) await reads.read([each], slow, figures)
  await expect.poll(() => loads.running).toBe(8)
  finish()
  await expect.poll(() => loads.running).toBe(0)
  await reads.close()
  expect(loads.most).toBe(8)
})

test('an entry whose load has failed is left alone for a while, here and in other processes', { timeout: 20_000 }, async () => {
  const { pass, openReads, reads, figures } = open()
  const lasting = { ...request(1), keepMs: ttl + 60_000, staleMs: 60_000 }
  await reads.read([lasting], load, figures)
  await pass(1.2 * ttl)
  let tries = 0
  const failing: Load = async () => {
    tries += 1
    throw new Error('the database is away')
  }
  const failures: string[] = []
  figures.listeners.on('revalidationFailed', ({ error }) => void failures.push(error.message))
  const readFrom = (process: ReadThrough) => process.read([lasting], failing, figures)
  await readFrom(reads)
  await expect.poll(() => failures).toEqual(['the database is away'])
  const other = openReads()
  for (let reader = 0; reader < 20; reader++) {
    expect(await readFrom(reads)).toEqual([{ n: 1 }])
    expect(await readFrom(other)).toEqual([{ n: 1 }])
    await pass(1)
  }
  expect(tries).toBe(1)
  await pass(1300)
  await readFrom(other)
  await expect.poll(() => failures.length).toBe(2)
  await pass(1300)
  const triesHere = async () => {
    await readFrom(reads)
    return tries
  }
  await expect.poll(triesHere, { timeout: 10_000 }).toBe(3)
})

test('a close waits for what never ends a moment only, and nothing begins behind it', { timeout: 20_000 }, async () => {
  const { pass, reads, figures } = open()
  await reads.read([request(1), request(2)], load, figures)
  await pass(1.2 * ttl)
  let begun = 0
  const never: Load = () => {
    begun++
    return new Promise(() => {})
  }
  await reads.read([request(1)], never, figures)
  await expect.poll(() => begun).toBe(1)
  await reads.close()
  await reads.read([request(2)], never, figures)
  await new Promise((resolve) => setImmediate(resolve))
  expect(begun).toBe(1)
})

test('what takes longer than its lease renews it: another process does not read the entry anew beside it', async () => {
  const { pass, reads, openReads, figures } = open()
  const long = { ...request(1), keepMs: ttl + 60_000, staleMs: 60_000 }
  await reads.read([long], load, figures)
  await pass(1.2 * ttl)
  const { slow, finish, figures: loads } = openSlowLoad()
  await reads.read([long], slow, figures)
  await vi.waitFor(() => expect(loads.entries).toBe(1))
  for (let half = 0; half < 4; half++) {
    await pass(0.9 * ttl)
    await delay(0.6 * ttl)
  }
  await openReads().read([long], slow, figures)
  await delay(50)
  expect(loads.entries).toBe(1)
  finish()
})
