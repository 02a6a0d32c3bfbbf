import type { Payload } from './cache-store.ts'
import type { Loaded, ReadRequest } from './load.ts'

// The moment until which an entry is fresh stands before its payload, by the clock on the wall, since processes share no other.
// A clock that goes wrong makes an entry be read anew too early or too late; its hard end is up to the store's clock.
type Dated = readonly [freshUntil: number, payload: Payload]

/** What is stored of a load: with the moment until which it is fresh, if it may be served longer than that. */
export function storedPayload({ staleMs }: ReadRequest, { payload, ttlMs }: Loaded): Loaded {
  return staleMs === 0 ? { payload, ttlMs } : { payload: [Date.now() + ttlMs, payload] satisfies Dated, ttlMs: ttlMs + staleMs }
}

/** What a reader gets of what is stored, and whether its ttl is over. */
export function shownPayload({ staleMs }: ReadRequest, stored: Payload): { readonly payload: Payload; readonly stale: boolean } {
  if (staleMs === 0) return { payload: stored, stale: false }
  const [freshUntil, payload] = stored as Dated
  return { payload, stale: Date.now() > freshUntil }
}

/** Added to the version of entries, so that one with a moment and one without are not taken for each other. */
export function datedVersion(version: string, staleMs: number): string {
  return staleMs === 0 ? version : `${version}+`
}
