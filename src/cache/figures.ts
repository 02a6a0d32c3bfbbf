import type { Payload } from './cache-store.ts'

/** The payload that says that there is nothing. */
export const negativePayload = null

/** What one cache has done since it was opened. Times are averages in milliseconds. */
export interface CacheFigures {
  /** Reads that asked the cache: hits and misses, not bypasses. */
  readonly requests: number
  readonly hits: number
  /** Hits that were at hand in this process, without a wait; part of `hits`. */
  readonly atHand: number
  readonly misses: number
  /** Hits that answered that there is no such row; part of `hits`. */
  readonly negative: number
  /** Runs of the database query, for misses. */
  readonly loads: number
  /** Loads whose result was not kept, since what they had read was changed meanwhile or the lease had ended. */
  readonly refusedFills: number
  /** Reads that went to the database by rule: in a transaction, with unflushed changes, or under a filter. */
  readonly bypasses: number
  /** Calls of the store that failed; the reads were answered from the database. */
  readonly errors: number
  /** H = hits / requests; 0 before the first request. */
  readonly hitRate: number
  /** T_cache: one look into the cache. */
  readonly tCache: number
  /** T_database: one load. */
  readonly tDatabase: number
  /** T_avg = H × T_cache + (1 − H) × (T_cache + T_database). */
  readonly tAverage: number
}

/** How many hits at hand go by until one is timed. */
const sampleEvery = 128

/** Counts what one cache does. */
export class FigureCounter {
  hits = 0
  atHand = 0
  misses = 0
  negative = 0
  loads = 0
  refusedFills = 0
  bypasses = 0
  errors = 0
  /** What loads have lately taken at most; a slow one is forgotten bit by bit. */
  recentLoadMs: number | undefined
  #cacheMs = 0
  #looks = 0
  #databaseMs = 0
  #loaded = 0

  /** Tells what the cache had, and how much it had not. */
  answered(hits: readonly Payload[], misses: number): void {
    this.hits += hits.length
    this.misses += misses
    for (const payload of hits) if (payload === negativePayload) this.negative += 1
  }

  /** Tells of one hit that was at hand in this process. */
  answeredNow(payload: Payload): void {
    this.hits += 1
    this.atHand += 1
    if (payload === negativePayload) this.negative += 1
  }

  /** True for the hits at hand that are timed: two looks at the clock cost as much as such a hit. */
  samplesNow(): boolean {
    return this.hits % sampleEvery === 0
  }

  /** Tells how long such a hit took; it stands for those that were not timed. */
  sampled(ms: number): void {
    this.looked(ms * sampleEvery, sampleEvery)
  }

  /** Tells how long the cache took for a number of entries looked up together. */
  looked(ms: number, entries: number): void {
    this.#cacheMs += ms
    this.#looks += entries
  }

  /** Tells how long the database took for a number of entries loaded together. */
  loaded(ms: number, entries: number): void {
    this.loads += 1
    this.recentLoadMs = Math.max(ms, (this.recentLoadMs ?? 0) * 0.95)
    this.#databaseMs += ms
    this.#loaded += entries
  }

  read(): CacheFigures {
    const { hits, atHand, misses, negative, loads, refusedFills, bypasses, errors } = this
    const requests = hits + misses
    const hitRate = requests === 0 ? 0 : hits / requests
    const tCache = this.#looks === 0 ? 0 : this.#cacheMs / this.#looks
    const tDatabase = this.#loaded === 0 ? 0 : this.#databaseMs / this.#loaded
    const tAverage = averageAccessTime(hitRate, tCache, tDatabase)
    return {
      ...{ requests, hits, atHand, misses, negative, loads, refusedFills, bypasses, errors },
      ...{ hitRate, tCache, tDatabase, tAverage },
    }
  }
}

/** T_avg = H × T_cache + (1 − H) × (T_cache + T_database). */
export function averageAccessTime(hitRate: number, tCache: number, tDatabase: number): number {
  return hitRate * tCache + (1 - hitRate) * (tCache + tDatabase)
}
