import { DataAccessError } from '../errors.ts'
import { anything, checkOptions, type Expectation, type KnownOptions, numberFrom } from '../kernel/options.ts'
import type { RedisClient } from './redis-client.ts'
import { checkRedisUrl } from './redis-url.ts'

/** Which Redis to use: a URL, or the caller's own ioredis client, which is then never closed here. */
export interface RedisOptions {
  /** `redis://` or `rediss://`, with the number of the database as its path, 0 by default. Undefined it is refused, unless there is a `client`. */
  readonly url?: string | undefined
  /** An ioredis client, or a cluster, with whatever settings it has; in place of `url`. */
  readonly client?: RedisClient | undefined
  /** Milliseconds to wait for an answer; 1 … 60,000, default 50. */
  readonly timeoutMs?: number | undefined
}

/** How long to wait for an answer. */
export const redisTimeout = numberFrom(1, 60_000, ' milliseconds')

const client: Expectation = {
  words: 'an ioredis client or cluster',
  fits: (value) => {
    const { status, duplicate } = (value ?? {}) as { status?: unknown; duplicate?: unknown }
    return typeof status === 'string' && typeof duplicate === 'function'
  },
}

/**
 * Checks the options of a door that leads to Redis: those of the connection, and those that the door adds.
 *
 * @throws DataAccessError `OPTION_INVALID`, `REDIS_URL_INVALID`.
 */
export function checkRedisOptions<Options extends Pick<RedisOptions, 'url' | 'client'>>(
  door: string,
  options: Options,
  added: KnownOptions<Omit<Options, 'url' | 'client'>>,
): void {
  const elsewhere = { host: 'url', port: 'url', password: 'url' }
  checkOptions<object>({ door, elsewhere }, options, { url: anything, client, ...added } as KnownOptions<object>)
  const { url, client: given } = options
  if (url !== undefined && given !== undefined) {
    throw new DataAccessError('OPTION_INVALID', `${door} was given both url and client; give exactly one of them`)
  }
  if (url !== undefined) checkRedisUrl(url)
  if (url !== undefined || given !== undefined) return
  if (!('url' in options)) throw new DataAccessError('OPTION_INVALID', `${door} needs url or client; give exactly one of them`)
  throw new DataAccessError(
    'REDIS_URL_INVALID',
    `${door}: url is undefined: the environment variable that holds it is probably not set; give redis://host:6379/0`,
  )
}
