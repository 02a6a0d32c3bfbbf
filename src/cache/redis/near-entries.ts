import { LRUCache } from 'lru-cache'
import type { EntryRequest, Payload } from '../cache-store.ts'

/** How much {@link NearEntries} keep. */
export interface NearBounds {
  readonly maxEntries: number
  /** Bytes, as estimated from the payloads. */
  readonly maxBytes: number
}

/** What an entry takes beside its key and its payload. */
const entryBytes = 150

const beyondLatin = /[^\0-\xff]/

interface NearEntry {
  readonly payload: Payload
  readonly version: string
  readonly ticket: number
  readonly endsAt: number
  /** When it was last seen that nothing that it hangs on has expired. */
  goodAt: number
}

/** How many expired keys are remembered one by one; with more, everything older than the oldest of them counts as expired. */
const mostExpired = 10_000

/**
 * Copies of entries of a store elsewhere. Whoever wants to keep one takes a ticket before he asks the store: the copy is good only
 * while nothing that it hangs on has expired since the ticket was taken, so that a copy which was long on its way is refused.
 */
export class NearEntries {
  readonly #entries: LRUCache<string, NearEntry>
  /** When keys and stamps expired last, the latest at the end. */
  readonly #expired = new Map<string, number>()
  #now = 0
  /** Tickets older than this are good for nothing. */
  #floor = 0

  constructor({ maxEntries, maxBytes }: NearBounds) {
    this.#entries = new LRUCache({ max: maxEntries, maxSize: maxBytes, maxEntrySize: maxBytes })
  }

  /** Take one before the store is asked. */
  ticket(): number {
    return this.#now
  }

  /** @param endsAt and `at` are times of one monotonic clock. */
  keep({ key, version }: EntryRequest, payload: Payload, ticket: number, endsAt: number): void {
    this.#entries.set(
      key,
      { payload, version, ticket, endsAt, goodAt: -1 },
      { size: entryBytes + bytesOfText(key) + bytesOf(payload) },
    )
  }

  /** The payload of a copy that is still good. */
  find({ key, version, stamps }: EntryRequest, at: number): Payload | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined || entry.endsAt <= at || entry.version !== version) return undefined
    if (entry.goodAt === this.#now) return entry.payload
    if (!this.#good(key, entry.ticket)) return undefined
    for (const stamp of stamps) if (!this.#good(stamp, entry.ticket)) return undefined
    entry.goodAt = this.#now
    return entry.payload
  }

  /** Ends the copies of these keys, and those that hang on these stamps; also the ones that are on their way. */
  expire(keys: readonly string[]): void {
    this.#now += 1
    for (const key of keys) {
      this.#entries.delete(key)
      this.#expired.delete(key)
      this.#expired.set(key, this.#now)
    }
    for (const [key, moment] of this.#expired) {
      if (this.#expired.size <= mostExpired) return
      this.#expired.delete(key)
      this.#floor = moment
    }
  }

  /** Ends all copies, also those that are on their way. */
  clear(): void {
    this.#now += 1
    this.#floor = this.#now
    this.#entries.clear()
    this.#expired.clear()
  }

  #good(key: string, ticket: number): boolean {
    return ticket >= this.#floor && ticket >= (this.#expired.get(key) ?? 0)
  }
}

/** About what a value takes of memory, as V8 keeps it. */
function bytesOf(value: unknown): number {
  if (typeof value === 'string') return bytesOfText(value)
  if (typeof value === 'bigint') return 32
  if (typeof value !== 'object' || value === null) return 8
  if (value instanceof Uint8Array) return 250 + value.byteLength
  if (value instanceof Date) return 110
  let bytes = 64
  const names = Array.isArray(value) ? undefined : Object.keys(value)
  for (const item of names === undefined ? (value as unknown[]) : Object.values(value)) bytes += bytesOf(item)
  // Rows share their names; what has so many is a map by names of its own.
  if (names !== undefined && names.length > 50) for (const name of names) bytes += 40 + bytesOfText(name)
  return bytes
}

/** Each character takes two bytes where one of them needs two. */
function bytesOfText(text: string): number {
  return 24 + (beyondLatin.test(text) ? 2 : 1) * text.length
}
