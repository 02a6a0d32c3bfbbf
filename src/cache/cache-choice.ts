import { DataAccessError } from '../errors.ts'
import { type Clock, monotonicClock } from '../kernel/clock.ts'
import type { Logger } from '../kernel/logger.ts'
import { checkOptions, flag, wholeFrom } from '../kernel/options.ts'
import type { CacheStore } from './cache-store.ts'
import { emptyStore } from './empty-store.ts'
import { MemoryStore } from './memory/memory-store.ts'

/** What a {@link CacheChoice} opens its store with. */
export interface CacheSurroundings {
  /** What tells the store when its entries and leases end: that of the data access. Default: the process's own. */
  readonly clock?: Clock
  /** Where the store's log lines go: that of the data access. Default: standard error. */
  readonly logger?: Logger
  /** Resolves to a short text that other databases do not have: what was cached of another one is no hit. */
  readonly database?: () => Promise<string>
}

/** Where the cache of a data access is; made by `memoryCache()` or `redisCache()`, or by you around your own store. */
export interface CacheChoice {
  /** Names the choice: `memory` and `redis` are ours. Figures and messages have the name of the store that it opens. */
  readonly name: string
  /** True if no change is missed here: those of other processes reach this cache, or no other process writes, or nothing is kept. */
  readonly seesAllChanges: boolean
  /**
   * For a store that processes share: what a process committed and could not expire is swept by the others that cache under the
   * same name, within this time in milliseconds. Without it the ttl is the bound after a crash.
   */
  readonly sweep?: { readonly space: string; readonly everyMs: number }
  /** Loads what the store needs: rejects with `DRIVER_MISSING` before anything is open, not at the first read. */
  prepare?(): Promise<void>
  /** Opens the store; called once by each data access. */
  open(surroundings: CacheSurroundings): CacheStore
}

/** What {@link memoryCache} takes. */
export interface MemoryCacheOptions {
  /**
   * Says that this data access alone writes to the database. What another process writes, or another data access in this one, even with the same
   * choice of cache, would not expire what is cached here.
   */
  readonly singleProcess?: boolean | undefined
  /** How many entries and leases it holds at most; at least 100, default 10,000. */
  readonly maxEntries?: number | undefined
}

/**
 * Caches in this process, for one data access. For PostgreSQL and for a SQLite file say `singleProcess: true`, since others would not see
 * its invalidations.
 *
 * @throws DataAccessError `OPTION_INVALID`.
 */
export function memoryCache(options: MemoryCacheOptions = {}): CacheChoice {
  checkOptions({ door: 'memoryCache' }, options, { singleProcess: flag, maxEntries: wholeFrom(100) })
  const { singleProcess = false, maxEntries = 10_000 } = options
  return {
    name: 'memory',
    // With one process there is nobody whose change could be missed.
    seesAllChanges: singleProcess,
    open: ({ clock = monotonicClock }) => new MemoryStore({ maxEntries, clock }),
  }
}

/** What a cached read says when nobody chose where to cache. */
export function cacheChoiceRequired(): DataAccessError {
  return new DataAccessError(
    'CACHE_CHOICE_REQUIRED',
    "Where other processes can open the database you choose where to cache: createDataAccess({ cache: redisCache({ url }) }) with redisCache from '@innovateai/data-access/cache/redis', " +
      'or cache: memoryCache({ singleProcess: true }) if no other process writes to this database, or cache: false to read without one',
  )
}

/** The choice of `cache: false`. */
export function noCache(): CacheChoice {
  return { name: 'none', seesAllChanges: true, open: () => emptyStore }
}
