import { DataAccessError } from '../../errors.ts'
import { numberFrom, text } from '../../kernel/options.ts'
import { loadIoredis } from '../../redis/redis-client.ts'
import { RedisConnection } from '../../redis/redis-connection.ts'
import { checkRedisOptions, type RedisOptions, redisTimeout } from '../../redis/redis-options.ts'
import type { CacheChoice } from '../cache-choice.ts'
import { RedisStore } from './redis-store.ts'

/** What {@link redisCache} takes. */
export interface RedisCacheOptions extends RedisOptions {
  /** Begins every key; applications that share a Redis take different ones. Default `data-access:`. */
  readonly prefix?: string
  /**
   * The longest staleness after a crash or while Redis did not acknowledge an invalidation: so often every process looks for
   * what was committed and not expired. Milliseconds, 100 … 60,000, default 1000.
   */
  readonly sweepMs?: number
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
  })
  const { prefix = 'data-access:', sweepMs = 1000, ...options } = given
  if (/[{}\s]/.test(prefix)) {
    throw new DataAccessError('OPTION_INVALID', `The prefix "${prefix}" of redisCache holds a space or brace; leave them out`)
  }
  return {
    name: 'redis',
    sharedByProcesses: true,
    sweep: { space: prefix, everyMs: sweepMs },
    prepare: async () => {
      if (options.client === undefined) await loadIoredis()
    },
    open: (surroundings) => {
      const connection = new RedisConnection(options, surroundings)
      connection.connect()
      return new RedisStore(connection, prefix)
    },
  }
}
