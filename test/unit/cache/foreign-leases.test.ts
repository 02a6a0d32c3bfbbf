import { expect, test } from 'vitest'
import type { LeaseRequest } from '../../../src/cache/cache-store.ts'
import { FigureCounter } from '../../../src/cache/figures.ts'
import type { Load } from '../../../src/cache/load.ts'
import { MemoryStore } from '../../../src/cache/memory/memory-store.ts'
import { ReadThrough } from '../../../src/cache/read-through.ts'

const list = Array.from({ length: 200 }, (_, id) => ({
  ...{ key: `Author:${id}`, stamps: ['Author#*'], version: '1', keepMs: 60_000, staleMs: 0, probe: 0 },
}))
const rows = list.map(({ key }) => `row of ${key}`)
const leaseMs = 5000

/** A store whose leases somebody else may take first. */
class ContestedStore extends MemoryStore {
  rivals = 0
  away = false
  beforeAcquire = async (): Promise<void> => {}

  override async acquire(requests: readonly LeaseRequest[], ms: number): Promise<readonly (readonly string[] | undefined)[]> {
    await this.beforeAcquire()
    if (this.rivals > 0) {
      this.rivals -= 1
      await super.acquire(
        requests.map((request) => ({ ...request, token: `rival of ${request.token}` })),
        leaseMs,
      )
    }
    return super.acquire(requests, ms)
  }

  override read: MemoryStore['read'] = async (requests) => {
    if (this.away) throw new Error('The store is away')
    return MemoryStore.prototype.read.call(this, requests)
  }
}

/** A cache on a clock that jumps to the end of every wait. */
function open() {
  let now = 0
  let waited = 0
  const onWait = { run: async () => {} }
  const clock = {
    now: () => now,
    wait: async (ms: number) => {
      waited += ms
      now += ms
      await onWait.run()
    },
  }
  const store = new ContestedStore({ maxEntries: 1000, clock })
  const reads = new ReadThrough({ store, clock, settled: () => true, graceMs: 1000 })
  const figures = new FigureCounter()
  const database = { away: false }
  const loads: number[] = []
  const load: Load = async (missing) => {
    if (database.away) throw new Error('The database is away')
    loads.push(missing.length)
    return missing.map(({ key }) => ({ payload: `row of ${key}`, ttlMs: 60_000 }))
  }
  return {
    ...{ store, database, loads, onWait },
    waited: () => waited,
    read: (fresh = false) => reads.read(list, load, figures, fresh),
    /** Somebody else takes the leases of these. */
    lease: (requests: readonly (typeof list)[number][]) =>
      store.acquire(
        requests.map((request) => ({ ...request, token: `other of ${request.key}`, seen: undefined })),
        leaseMs,
      ),
  }
}

test('a list whose leases others hold is read by one query, after one wait, and then without a wait', async () => {
  const { read, lease, loads, waited } = open()
  await lease(list)
  expect(await read()).toEqual(rows)
  expect(loads).toEqual([200])
  expect(waited()).toBeGreaterThanOrEqual(250)
  expect(waited()).toBeLessThan(300)
  expect(await read()).toEqual(rows)
  expect(await read()).toEqual(rows)
  expect(loads).toEqual([200, 200, 200])
  expect(waited()).toBeLessThan(300)
})

test('of a list that others hold in part, one query reads what is free and one what is not', async () => {
  const { read, lease, loads } = open()
  await lease(list.filter((_, index) => index % 2 === 0))
  expect(await read()).toEqual(rows)
  expect(loads).toEqual([100, 100])
  expect(await read()).toEqual(rows)
  expect(loads).toEqual([100, 100, 100])
})

test('what the others fill meanwhile is not loaded, and what they give up is, at once and by one query', async () => {
  const { read, lease, loads, store, onWait, waited } = open()
  const stamps = (await lease(list)).map((granted) => granted as readonly string[])
  onWait.run = async () => {
    onWait.run = async () => {}
    const fills = list.map(({ key, version }, index) => ({
      ...{ key, version, token: `other of ${key}`, stamps: stamps[index] as readonly string[], ttlMs: 60_000 },
      payload: index < 150 ? `filled ${key}` : undefined,
    }))
    await store.fill(fills)
  }
  expect(await read()).toEqual(list.map(({ key }, index) => (index < 150 ? `filled ${key}` : `row of ${key}`)))
  expect(loads).toEqual([50])
  expect(waited()).toBeLessThan(10)
})

test('a list whose leases others take between the look and the lease is read by one query', async () => {
  const { read, store, loads } = open()
  store.rivals = 1
  expect(await read()).toEqual(rows)
  expect(loads).toEqual([200])
})

test('a fresh read whose leases others take is one query', async () => {
  const { read, store, loads } = open()
  store.rivals = 1
  expect(await read(true)).toEqual(rows)
  expect(loads).toEqual([200])
})

test('readers whom the store fails, and who wait for leases that others then take, read by one query', async () => {
  const { read, store, loads } = open()
  const [asked, granting] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  store.rivals = 1
  store.beforeAcquire = () => {
    asked.resolve()
    return granting.promise
  }
  const leading = read()
  await asked.promise
  store.away = true
  const joining = read()
  await new Promise((resolve) => setImmediate(resolve)) // it has joined those who wait for the leases
  granting.resolve()
  expect(await Promise.all([leading, joining])).toEqual([rows, rows])
  expect(loads.length).toBeLessThanOrEqual(2)
})

test('a load that fails for a list that others hold, fails for its caller', async () => {
  const { read, lease, database } = open()
  await lease(list)
  database.away = true
  await expect(read()).rejects.toThrow('The database is away')
})
