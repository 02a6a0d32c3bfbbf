import { randomUUID } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { type Clock, monotonicClock } from '../../kernel/clock.ts'
import type { CacheStore, EntryRequest, Fill, Found, LeaseRequest, Payload } from '../cache-store.ts'

type Slot =
  | { readonly kind: 'entry'; readonly fill: Fill; readonly endsAt: number }
  | { readonly kind: 'lease'; readonly token: string; readonly endsAt: number }
  | { readonly kind: 'stamp'; readonly value: string; readonly endsAt: number }

/**
 * Keeps entries in this process. It holds at most `maxEntries` entries, leases and stamps together, and drops what was used
 * longest ago: a dropped stamp or lease makes a miss, never a wrong hit.
 */
export class MemoryStore implements CacheStore {
  readonly name = 'memory'
  readonly #slots: LRUCache<string, Slot>
  readonly #clock: Clock

  constructor({ maxEntries, clock = monotonicClock }: { readonly maxEntries: number; readonly clock?: Clock }) {
    this.#slots = new LRUCache({ max: maxEntries })
    this.#clock = clock
  }

  async read(requests: readonly EntryRequest[]): Promise<readonly Found[]> {
    return requests.map((request) => this.#find(request))
  }

  readNow(request: EntryRequest): Payload | undefined {
    const now = this.#clock.now()
    const slot = this.#live(request.key, now)
    return slot?.kind === 'entry' && this.#usable(slot.fill, request, now) ? slot.fill.payload : undefined
  }

  async acquire(requests: readonly LeaseRequest[], leaseMs: number): Promise<readonly (readonly string[] | undefined)[]> {
    return requests.map(({ key, token, seen, stamps, keepMs }) => {
      const slot = this.#live(key)
      if (slot !== undefined && !(slot.kind === 'entry' && slot.fill.token === seen)) return undefined
      this.#slots.set(key, { kind: 'lease', token, endsAt: this.#clock.now() + leaseMs })
      return stamps.map((stamp) => this.#openStamp(stamp, keepMs))
    })
  }

  async fill(fills: readonly Fill[]): Promise<readonly boolean[]> {
    return fills.map((fill) => {
      const slot = this.#live(fill.key)
      if (!mayFill(slot, fill)) return false
      if (fill.payload === undefined) this.#slots.delete(fill.key)
      else this.#slots.set(fill.key, { kind: 'entry', fill, endsAt: this.#clock.now() + fill.ttlMs })
      return true
    })
  }

  async invalidate(keys: readonly string[]): Promise<void> {
    for (const key of keys) this.#slots.delete(key)
  }

  async ping(): Promise<number> {
    return 0
  }

  async close(): Promise<void> {
    this.#slots.clear()
  }

  #find(request: EntryRequest): Found {
    const now = this.#clock.now()
    const slot = this.#live(request.key, now)
    if (slot === undefined || slot.kind === 'stamp') return { state: 'absent', seen: undefined }
    if (slot.kind === 'lease') {
      return { state: 'leased', token: slot.token, stamps: request.stamps.map((key) => this.#stamp(key, now)) }
    }
    const { fill } = slot
    if (!this.#usable(fill, request, now)) return { state: 'absent', seen: fill.token }
    return { state: 'hit', payload: fill.payload, seen: fill.token, stamps: fill.stamps }
  }

  #usable(fill: Fill, { version, stamps }: EntryRequest, now: number): boolean {
    if (fill.version !== version || fill.stamps.length !== stamps.length) return false
    for (let i = 0; i < stamps.length; i++) {
      if (this.#stamp(stamps[i] as string, now) !== fill.stamps[i]) return false
    }
    return true
  }

  #stamp(key: string, now: number): string | undefined {
    const slot = this.#live(key, now)
    return slot?.kind === 'stamp' ? slot.value : undefined
  }

  #openStamp(key: string, keepMs: number): string {
    const slot = this.#live(key)
    const value = slot?.kind === 'stamp' ? slot.value : randomUUID()
    this.#slots.set(key, { kind: 'stamp', value, endsAt: Math.max(slot?.endsAt ?? 0, this.#clock.now() + keepMs) })
    return value
  }

  #live(key: string, now = this.#clock.now()): Slot | undefined {
    const slot = this.#slots.get(key)
    return slot !== undefined && slot.endsAt > now ? slot : undefined
  }
}

function mayFill(slot: Slot | undefined, { token, replaces }: Fill): boolean {
  if (replaces === undefined) return slot?.kind === 'lease' && slot.token === token
  return slot?.kind === 'entry' && slot.fill.token === replaces
}
