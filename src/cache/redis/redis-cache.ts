import { randomUUID } from 'node:crypto'
import { DataAccessError } from '../../errors.ts'
import { monotonicClock } from '../../kernel/clock.ts'
import { consoleLogger } from '../../kernel/logger.ts'
import { checkOptions, numberFrom, record, text, wholeFrom } from '../../kernel/options.ts'
import { loadIoredis, type RedisClient } from '../../redis/redis-client.ts'
import { RedisConnection } from '../../redis/redis-connection.ts'
import { checkRedisOptions, type RedisOptions, redisTimeout } from '../../redis/redis-options.ts'
import type { CacheChoice, CacheSurroundings } from '../cache-choice.ts'
import { type BusParts, InvalidationBus } from './invalidation-bus.ts'
import { NearEntries } from './near-entries.ts'
import { RedisStore } from './redis-store.ts'
import { TieredStore } from './tiered-store.ts'

/** What {@link redisCache} takes. */
export interface RedisCacheOptions extends RedisOptions {
  /** Begins every key; applications that share a Redis take different ones. Default `data-access:`. */
  readonly prefix?: string | undefined
  /**
   * The longest staleness after a crash or while Redis did not acknowledge an invalidation: so often every process looks for
   * what was committed and not expired. Milliseconds, 100 … 60,000, default 1000.
   */
  readonly sweepMs?: number | undefined
  /**
   * How many bytes one entry may take in Redis, with what proves it, some hundred bytes: what is longer is read from the database each time and not kept, since it would
   * hold up all other reads of the process on its way. At least 1024, default 1,000,000; with more, give a longer `timeoutMs` too.
   */
  readonly maxBytes?: number | undefined
  /**
   * Keeps copies of entries in this process too, off by default. What this process expires is gone at once; what another one
   * expires, once its message has come, which takes about as long as a round trip.
   */
  readonly tier?: TierOptions | undefined
}

/** How copies of what is in Redis are kept in this process. */
export interface TierOptions {
  /** The most copies; at least 1, default 10,000. */
  readonly maxEntries?: number | undefined
  /** About how many bytes the copies take at most; at least 1024, default 50,000,000. */
  readonly maxBytes?: number | undefined
  /**
   * The longest life of a copy in milliseconds, 1 … 60,000, default 2000: the longest staleness, should a message of another
   * process be lost in a way that nobody notices.
   */
  readonly ttl?: number | undefined
}

/**
 * Caches in Redis, for any number of processes. While Redis is away reads go to the database after `timeoutMs`, soon without
 * waiting, and commits succeed.
 *
 * @throws DataAccessError `REDIS_URL_INVALID` or `OPTION_INVALID`.
 */
export function redisCache(given: RedisCacheOptions): CacheChoice {
  checkRedisOptions('redisCache', given, {
    timeoutMs: redisTimeout,
    prefix: text,
    sweepMs: numberFrom(100, 60_000, ' milliseconds'),
    maxBytes: wholeFrom(1024),
    tier: record,
  })
  if (given.client !== undefined) requireMaster(given.client)
  const { prefix = 'data-access:', sweepMs = 1000, maxBytes, tier, ...options } = given
  if (tier !== undefined) {
    const known = { maxEntries: wholeFrom(1), maxBytes: wholeFrom(1024), ttl: numberFrom(1, 60_000, ' milliseconds') }
    checkOptions({ door: 'redisCache', under: 'tier' }, tier, known)
  }
  if (/[{}\s]/.test(prefix)) {
    throw new DataAccessError('OPTION_INVALID', `The prefix "${prefix}" of redisCache holds a space or brace; leave them out`)
  }
  return {
    name: 'redis',
    seesAllChanges: true,
    sweep: { space: prefix, everyMs: sweepMs },
    prepare: async () => {
      if (options.client === undefined) await loadIoredis()
    },
    open: (surroundings) => {
      const connection = new RedisConnection(options, { ...surroundings, use: 'the cache' })
      connection.connect()
      const self = randomUUID()
      const far = new RedisStore({ redis: connection, prefix, self, maxBytes, ...surroundings })
      return tier === undefined ? far : withTier(far, tier, { options, redis: connection, prefix, self, ...surroundings })
    },
  }
}

/** A replica lags behind: it would answer with what an acknowledged invalidation has ended. */
function requireMaster({ options }: RedisClient): void {
  const { scaleReads = 'master', role = 'master' } = options as { scaleReads?: unknown; role?: unknown }
  const [option, value] = scaleReads === 'master' ? ['role', role] : ['scaleReads', scaleReads]
  if (value === 'master') return
  const what = `${option} of the client of redisCache is ${typeof value === 'function' ? 'a function' : `"${value}"`}`
  throw new DataAccessError(
    'OPTION_INVALID',
    `${what}, and a replica still has what an invalidation has ended on its master; leave ${option} out, or give 'master'`,
  )
}

type TierSurroundings = CacheSurroundings & Pick<BusParts, 'options' | 'redis' | 'prefix' | 'self'>

function withTier(
  far: RedisStore,
  { maxEntries = 10_000, maxBytes = 50_000_000, ttl = 2000 }: TierOptions,
  { clock = monotonicClock, logger = consoleLogger, ...parts }: TierSurroundings,
): TieredStore {
  const near = new NearEntries({ maxEntries, maxBytes })
  const onExpired = (keys: readonly string[]) => near.expire(keys)
  const bus = new InvalidationBus({ ...parts, onExpired, onGap: () => near.clear(), clock, logger })
  return new TieredStore({ far, near, bus, ttlMs: ttl, clock })
}
