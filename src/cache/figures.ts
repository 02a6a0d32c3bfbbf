import { Listeners } from '../kernel/listeners.ts'
import { consoleLogger, type Logger } from '../kernel/logger.ts'
import { toError } from '../kernel/thrown-error.ts'
import { type BypassReason, type CacheEvents, cacheEventNames } from './cache-events.ts'
import type { Payload } from './cache-store.ts'

/** The payload that says that there is nothing. */
export const negativePayload = null

/** What one cache has done since it was opened. Times are averages in milliseconds. */
export interface CacheFigures {
  /** Entries that the cache was asked for, one for each id of a `getMany`: hits and misses, not bypasses. */
  readonly requests: number
  /** Entries that the cache had, and gave. */
  readonly hits: number
  /** Hits on what was in this process, a copy of a tier or an entry of a store that is in it; part of `hits`. */
  readonly atHand: number
  /** Entries that the database had to answer: not there or not usable, asked for with `fresh`, or with the store away. */
  readonly misses: number
  /** Hits that answered that there is no such row; part of `hits`. */
  readonly negative: number
  /** Hits on entries past their ttl, which were read anew behind the readers' backs; part of `hits`. */
  readonly stale: number
  /** Runs of the database query, for misses and to read anew. */
  readonly loads: number
  /** Loads whose result was not kept: what they had read was changed meanwhile, the lease had ended, or it was too large for the store. */
  readonly refusedFills: number
  /** Reads that went to the database by rule; the event `bypassed` tells by which. */
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
  /** Hits that the probe compared with the primary. */
  readonly probed: number
  /** Of these, those whose entry outlived a change of its row. */
  readonly inconsistent: number
  /**
   * The share of consistent hits as a number of nines: 3 is 99.9 %. Without an inconsistent one it is what is certain to 95 %, by
   * the rule of three: with n samples at least 1 − 3 / n are consistent.
   */
  readonly nines: number
}

/** How many hits go by until one that is given without a wait is timed. */
const sampleEvery = 128

/** Counts what one cache does. */
export class FigureCounter {
  hits = 0
  atHand = 0
  misses = 0
  negative = 0
  stale = 0
  loads = 0
  refusedFills = 0
  bypasses = 0
  errors = 0
  readonly listeners: Listeners<CacheEvents>
  /** What loads have lately taken at most; a slow one is forgotten bit by bit. */
  recentLoadMs: number | undefined
  #cacheMs = 0
  #looks = 0
  #databaseMs = 0
  #loaded = 0
  #probed = 0
  #inconsistent = 0

  constructor(name = 'cache', logger: Logger = consoleLogger) {
    this.listeners = new Listeners(name, cacheEventNames, logger)
  }

  /** Tells what the cache had, how much it had not, and how much of what it had was in this process, or is past its ttl. */
  answered(hits: readonly Payload[], misses: number, atHand = 0, stale = 0): void {
    let negative = 0
    for (const payload of hits) if (payload === negativePayload) negative += 1
    this.hits += hits.length
    this.misses += misses
    this.atHand += atHand
    this.negative += negative
    this.stale += stale
    if (this.listeners.any) this.listeners.tell('read', { hits: hits.length, misses, atHand, negative, stale })
  }

  /** Tells of one hit that was given without a wait. */
  answeredNow(payload: Payload): void {
    const negative = payload === negativePayload ? 1 : 0
    this.hits += 1
    this.atHand += 1
    this.negative += negative
    if (this.listeners.any) this.listeners.tell('read', { hits: 1, misses: 0, atHand: 1, negative, stale: 0 })
  }

  /** Tells that loads for so many entries were not kept. */
  fillsRefused(entries: number): void {
    if (entries === 0) return
    this.refusedFills += entries
    this.listeners.tell('fillRefused', { entries })
  }

  /** Tells of reads past the cache. */
  bypassed(entries: number, reason: BypassReason): void {
    this.bypasses += entries
    this.listeners.tell('bypassed', { entries, reason })
  }

  /** Tells that a call of the store failed. */
  storeFailed(error: unknown): void {
    this.errors += 1
    this.listeners.tell('storeFailed', { error: toError(error) })
  }

  /** Tells that an entry could not be read anew. */
  revalidationFailed(key: string, error: unknown): void {
    this.listeners.tell('revalidationFailed', { key, error: toError(error) })
  }

  /** Tells the verdict on a hit that was compared with the primary. */
  probed(key: string, consistent: boolean): void {
    this.#probed += 1
    if (consistent) return
    this.#inconsistent += 1
    this.listeners.tell('inconsistent', { key })
  }

  /** True for the hits without a wait that are timed: two looks at the clock cost as much as such a hit. */
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
    this.listeners.tell('loaded', { entries, ms })
  }

  read(): CacheFigures {
    const { hits, atHand, misses, negative, stale, loads, refusedFills, bypasses, errors } = this
    const requests = hits + misses
    const hitRate = requests === 0 ? 0 : hits / requests
    const tCache = this.#looks === 0 ? 0 : this.#cacheMs / this.#looks
    const tDatabase = this.#loaded === 0 ? 0 : this.#databaseMs / this.#loaded
    const tAverage = averageAccessTime(hitRate, tCache, tDatabase)
    return {
      ...{ requests, hits, atHand, misses, negative, stale, loads, refusedFills, bypasses, errors },
      ...{ hitRate, tCache, tDatabase, tAverage },
      ...{ probed: this.#probed, inconsistent: this.#inconsistent, nines: nines(this.#probed, this.#inconsistent) },
    }
  }
}

/** T_avg = H × T_cache + (1 − H) × (T_cache + T_database). */
export function averageAccessTime(hitRate: number, tCache: number, tDatabase: number): number {
  return hitRate * tCache + (1 - hitRate) * (tCache + tDatabase)
}

/** The share of consistent samples as nines: −log10 of the others' share, or of 3 / n when there are none; 0 … */
export function nines(samples: number, inconsistent: number): number {
  if (samples === 0) return 0
  const others = inconsistent === 0 ? 3 / samples : inconsistent / samples
  return Math.max(0, -Math.log10(others))
}
