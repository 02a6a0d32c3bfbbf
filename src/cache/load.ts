import type { EntryRequest, Payload } from './cache-store.ts'
import type { FigureCounter } from './figures.ts'

/** An entry to read, and how it is to be kept. Times in milliseconds. */
export interface ReadRequest extends EntryRequest {
  /** The longest life that its fill may ask for. */
  readonly keepMs: number
  /** How long after its ttl it may still be served; part of `keepMs`. */
  readonly staleMs: number
  /** The share of its hits that are compared with the database. */
  readonly probe: number
}

/** What a load found for one entry. */
export interface Loaded {
  readonly payload: Payload
  /** Milliseconds to keep it, or 0 to hand it out without keeping it. */
  readonly ttlMs: number
}

/** Reads entries from the database, one {@link Loaded} for each request, in their order. */
export type Load = (requests: readonly ReadRequest[]) => Promise<readonly Loaded[]>

/** Runs a load and takes its time. */
export async function timedLoad(
  requests: readonly ReadRequest[],
  load: Load,
  figures: FigureCounter,
): Promise<readonly Loaded[]> {
  const startedAt = performance.now()
  try {
    return await load(requests)
  } finally {
    figures.loaded(performance.now() - startedAt, requests.length)
  }
}
