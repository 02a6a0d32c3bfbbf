import type { Clock } from '../../kernel/clock.ts'
import type { CacheStore, EntryRequest, Fill, Found, Hit, Lease, LeaseRequest, Payload } from '../cache-store.ts'
import type { InvalidationBus } from './invalidation-bus.ts'
import type { NearEntries } from './near-entries.ts'
import type { RedisStore } from './redis-store.ts'

/** What a {@link TieredStore} works with. */
export interface TierParts {
  readonly far: RedisStore
  readonly near: NearEntries
  readonly bus: Pick<InvalidationBus, 'sound' | 'close'>
  /** The longest life of a copy, in milliseconds. */
  readonly ttlMs: number
  readonly clock: Clock
}

/** Redis with copies in this process, which are served only while the bus proves that every process's invalidations are heard. */
export class TieredStore implements CacheStore {
  readonly name = 'redis'
  readonly #parts: TierParts

  constructor(parts: TierParts) {
    this.#parts = parts
  }

  get copiesMs(): number {
    return this.#parts.ttlMs
  }

  readNow(request: EntryRequest): Payload | undefined {
    return this.#copyOf(request)?.payload
  }

  dropCopies(keys: readonly string[]): void {
    this.#parts.near.expire(keys)
  }

  async read(requests: readonly EntryRequest[]): Promise<readonly Found[]> {
    const { far, near, bus, ttlMs, clock } = this.#parts
    const found = requests.map((request): Found | undefined => this.#copyOf(request))
    const missing = requests.filter((_, index) => found[index] === undefined)
    if (missing.length === 0) return found as readonly Found[]
    const askedAt = clock.now()
    const keeps = bus.sound()
    const ticket = near.ticket()
    const answers = (await far.readWithLife(missing)).values()
    return requests.map((request, index) => {
      const copy = found[index]
      if (copy !== undefined) return copy
      const { answer, leftMs } = answers.next().value as { answer: Found; leftMs: number }
      // Its age counts from before it was asked for, so that it ends no later than the entry itself.
      if (keeps && answer.state === 'hit') near.keep(request, copyFrom(answer), ticket, askedAt + Math.min(ttlMs, leftMs))
      return answer
    })
  }

  acquire(requests: readonly LeaseRequest[], leaseMs: number): Promise<readonly (readonly string[] | undefined)[]> {
    return this.#parts.far.acquire(requests, leaseMs)
  }

  renew(leases: readonly Lease[], leaseMs: number): Promise<void> {
    return this.#parts.far.renew(leases, leaseMs)
  }

  async fill(fills: readonly Fill[]): Promise<readonly boolean[]> {
    const { near, far } = this.#parts
    const keys = fills.map(({ key }) => key)
    // Here there may be copies of what is replaced: its loader gives it to its reader while it is on its way.
    near.expire(keys)
    try {
      return await far.fill(fills)
    } finally {
      // Once more: who asked Redis between the two may have found it.
      near.expire(keys)
    }
  }

  async invalidate(keys: readonly string[]): Promise<void> {
    const { near, far } = this.#parts
    near.expire(keys)
    try {
      await far.invalidate(keys)
    } finally {
      // Once more: who asked Redis between the two has a copy of what was there before.
      near.expire(keys)
    }
  }

  ping(): Promise<number> {
    return this.#parts.far.ping()
  }

  #copyOf(request: EntryRequest): Hit | undefined {
    const { near, bus, clock } = this.#parts
    return bus.sound() ? (near.find(request, clock.now()) as Hit | undefined) : undefined
  }

  async close(): Promise<void> {
    const { near, bus, far } = this.#parts
    near.clear()
    await bus.close()
    await far.close()
  }
}

/** A part of a text keeps the whole of it in memory: here all that Redis has sent for the entry. */
function copyFrom(hit: Hit): Hit {
  return { ...hit, seen: Buffer.from(hit.seen).toString(), atHand: true }
}
