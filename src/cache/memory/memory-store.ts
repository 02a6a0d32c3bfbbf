import { randomUUID } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { DataAccessError } from '../../errors.ts'
import { type Clock, monotonicClock } from '../../kernel/clock.ts'
import type { CacheStore, EntryRequest, Fill, Found, Lease, LeaseRequest, Payload } from '../cache-store.ts'

/** Its entries and leases hold it, so it ends with the last of them, or when it is invalidated. */
interface Stamp {
  readonly key: string
  readonly value: string
  holders: number
  live: boolean
}

interface Entry {
  readonly kind: 'entry'
  readonly fill: Fill
  readonly stamps: readonly Stamp[]
  readonly endsAt: number
}

interface Leased {
  readonly kind: 'lease'
  readonly token: string
  readonly stamps: readonly Stamp[]
  readonly afterFailure: boolean
  endsAt: number
}

type Slot = Entry | Leased

/** So many failures are remembered at most, beside entries and leases: an outage is not to drop what is kept. */
const mostFailures = 1000

const afterFailure = { afterFailure: true } as const

/**
 * Keeps entries in this process. It holds at most `maxEntries` entries and leases together, with the stamps that they hang on, and
 * drops what was used longest ago: a dropped entry or lease makes a miss, never a wrong hit.
 */
export class MemoryStore implements CacheStore {
  readonly name = 'memory'
  readonly #slots: LRUCache<string, Slot>
  readonly #stamps = new Map<string, Stamp>()
  /** When each ends. */
  readonly #failures = new LRUCache<string, number>({ max: mostFailures })
  readonly #clock: Clock
  #closed = false

  constructor({ maxEntries, clock = monotonicClock }: { readonly maxEntries: number; readonly clock?: Clock }) {
    this.#slots = new LRUCache({ max: maxEntries, dispose: ({ stamps }) => this.#leave(stamps) })
    this.#clock = clock
  }

  async read(requests: readonly EntryRequest[]): Promise<readonly Found[]> {
    return requests.map((request) => this.#find(request))
  }

  readNow(request: EntryRequest): Payload | undefined {
    const slot = this.#live(request.key)
    return slot?.kind === 'entry' && usable(slot, request) ? slot.fill.payload : undefined
  }

  async acquire(requests: readonly LeaseRequest[], leaseMs: number): Promise<readonly (readonly string[] | undefined)[]> {
    // What came of it nobody would expire.
    if (this.#closed) throw new DataAccessError('CLOSED', 'The memory cache was closed')
    return requests.map(({ key, token, seen, stamps: keys }) => {
      const slot = this.#live(key)
      if (slot !== undefined && !(slot.kind === 'entry' && slot.fill.token === seen)) return undefined
      const stamps = keys.map((stamp) => this.#openStamp(stamp))
      this.#put(key, { kind: 'lease', token, stamps, afterFailure: this.#failed(key), endsAt: this.#clock.now() + leaseMs })
      this.#failures.delete(key)
      return stamps.map(({ value }) => value)
    })
  }

  async renew(leases: readonly Lease[], leaseMs: number): Promise<void> {
    for (const { key, token } of leases) {
      const slot = this.#live(key)
      if (slot?.kind === 'lease' && slot.token === token) slot.endsAt = this.#clock.now() + leaseMs
    }
  }

  async fill(fills: readonly Fill[]): Promise<readonly boolean[]> {
    return fills.map((fill) => {
      const slot = this.#live(fill.key)
      if (slot === undefined || !mayFill(slot, fill)) return false
      if (fill.payload === undefined) {
        this.#slots.delete(fill.key)
        if (fill.failed === true) this.#failures.set(fill.key, this.#clock.now() + fill.ttlMs)
      } else this.#put(fill.key, { kind: 'entry', fill, stamps: slot.stamps, endsAt: this.#clock.now() + fill.ttlMs })
      return true
    })
  }

  async invalidate(keys: readonly string[]): Promise<void> {
    for (const key of keys) {
      this.#slots.delete(key)
      this.#failures.delete(key)
      const stamp = this.#stamps.get(key)
      if (stamp !== undefined) this.#end(stamp)
    }
  }

  async ping(): Promise<number> {
    return 0
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#slots.clear()
    this.#failures.clear()
  }

  #find(request: EntryRequest): Found {
    const slot = this.#live(request.key)
    if (slot === undefined) return { state: 'absent', seen: undefined, ...(this.#failed(request.key) ? afterFailure : {}) }
    if (slot.kind === 'lease') {
      const stamps = request.stamps.map((key) => this.#stamps.get(key)?.value)
      return { state: 'leased', token: slot.token, stamps, ...(slot.afterFailure ? afterFailure : {}) }
    }
    const { fill } = slot
    if (!usable(slot, request)) return { state: 'absent', seen: fill.token }
    return { state: 'hit', payload: fill.payload, seen: fill.token, stamps: fill.stamps, atHand: true }
  }

  #failed(key: string): boolean {
    const end = this.#failures.get(key)
    return end !== undefined && end > this.#clock.now()
  }

  #live(key: string): Slot | undefined {
    const slot = this.#slots.get(key)
    return slot !== undefined && slot.endsAt > this.#clock.now() ? slot : undefined
  }

  #openStamp(key: string): Stamp {
    const known = this.#stamps.get(key)
    if (known !== undefined) return known
    const stamp = { key, value: randomUUID(), holders: 0, live: true }
    this.#stamps.set(key, stamp)
    return stamp
  }

  /** What was there leaves its stamps after the new one holds them: those of both stay. */
  #put(key: string, slot: Slot): void {
    for (const stamp of slot.stamps) stamp.holders += 1
    this.#slots.set(key, slot)
  }

  #leave(stamps: readonly Stamp[]): void {
    for (const stamp of stamps) {
      stamp.holders -= 1
      if (stamp.holders === 0 && stamp.live) this.#end(stamp)
    }
  }

  #end(stamp: Stamp): void {
    stamp.live = false
    this.#stamps.delete(stamp.key)
  }
}

function usable({ fill, stamps }: Entry, request: EntryRequest): boolean {
  if (fill.version !== request.version || stamps.length !== request.stamps.length) return false
  for (let i = 0; i < stamps.length; i++) {
    const stamp = stamps[i] as Stamp
    if (!stamp.live || stamp.key !== request.stamps[i]) return false
  }
  return true
}

function mayFill(slot: Slot, { token, replaces }: Fill): boolean {
  if (replaces === undefined) return slot.kind === 'lease' && slot.token === token
  return slot.kind === 'entry' && slot.fill.token === replaces
}
