import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { CacheStore, EntryRequest, Fill, Found, Hit } from '../cache/cache-store.ts'

/** Longer than any case takes. */
export const leaseMs = 2_000
/** How long entries are kept unless a case is about their end. */
export const keepMs = 60_000

/** A new entry with so many stamps of its own. */
export function request(stamps = 0): EntryRequest {
  const key = randomUUID()
  return { key: `entry:${key}`, stamps: Array.from({ length: stamps }, (_, i) => `stamp:${i}:${key}`), version: 'v1' }
}

/** Asks for the lease of an entry. */
export async function lease(store: CacheStore, entry: EntryRequest, seen?: string, ms = leaseMs) {
  const token = randomUUID()
  const [stamps] = await store.acquire([{ ...entry, token, seen, keepMs }], ms)
  return stamps === undefined ? undefined : { token, stamps }
}

/** Takes the lease of an entry, which must be free. */
export async function leased(store: CacheStore, entry: EntryRequest, seen?: string, ms = leaseMs) {
  const granted = await lease(store, entry, seen, ms)
  assert.ok(granted !== undefined, 'the lease is granted')
  return granted
}

/** Stores an entry under a lease, or gives the lease back without a payload. */
export async function fill(
  store: CacheStore,
  entry: EntryRequest,
  proof: Pick<Fill, 'token' | 'stamps'>,
  payload?: unknown,
  ttlMs = keepMs,
) {
  return (await store.fill([{ key: entry.key, version: entry.version, ...proof, payload, ttlMs }]))[0]
}

/** Ends a lease whose load has failed. */
export async function failed(store: CacheStore, entry: EntryRequest, proof: Pick<Fill, 'token' | 'stamps'>, ttlMs = keepMs) {
  return (await store.fill([{ key: entry.key, version: entry.version, ...proof, payload: undefined, failed: true, ttlMs }]))[0]
}

/** Puts another payload in the place of a standing entry. */
export async function replace(store: CacheStore, entry: EntryRequest, { seen, stamps }: Omit<Hit, 'payload'>, payload: unknown) {
  const { key, version } = entry
  return (await store.fill([{ key, version, token: randomUUID(), replaces: seen, stamps, payload, ttlMs: keepMs }]))[0]
}

/** Stores an entry, which must be free. */
export async function filled(store: CacheStore, entry: EntryRequest, payload: unknown, ttlMs = keepMs): Promise<void> {
  assert.equal(await fill(store, entry, await leased(store, entry), payload, ttlMs), true)
}

/** What a case compares of what was found: not the marks of hits, which are random. */
export type Seen = Exclude<Found, Hit> | Pick<Hit, 'state' | 'payload'>

/** Looks one entry up. */
export async function look(store: CacheStore, entry: EntryRequest): Promise<Seen> {
  return (await lookAll(store, [entry]))[0] as Seen
}

/** Looks entries up together. */
export async function lookAll(store: CacheStore, entries: readonly EntryRequest[]): Promise<readonly Seen[]> {
  const found = await store.read(entries)
  return found.map((each) => (each.state === 'hit' ? hit(each.payload) : each))
}

/** The entry, which must be a hit, with its mark and the values of its stamps. */
export async function standing(store: CacheStore, entry: EntryRequest): Promise<Hit> {
  const [found] = await store.read([entry])
  assert.ok(found?.state === 'hit', 'the entry is a hit')
  return found
}

/** The mark of an unusable entry. */
export async function seenOf(store: CacheStore, entry: EntryRequest): Promise<string | undefined> {
  const found = await look(store, entry)
  assert.equal(found.state, 'absent')
  return found.state === 'absent' ? found.seen : undefined
}

/** A hit with this payload. */
export const hit = (payload: unknown): Seen => ({ state: 'hit', payload })
/** Nothing is there. */
export const absent: Seen = { state: 'absent', seen: undefined }
/** Nothing is there but what tells of a failure. */
export const absentAfterFailure: Seen = { state: 'absent', seen: undefined, afterFailure: true }
