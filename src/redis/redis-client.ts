import type { Cluster, Redis } from 'ioredis'
import { DataAccessError } from '../errors.ts'
import type { Logger } from '../kernel/logger.ts'

/** An ioredis client, of one server or of a cluster. */
export type RedisClient = Redis | Cluster

const longestRetryMs = 1000

/**
 * Makes an ioredis client with this library's rules: nothing queues while the server is away, nothing is sent twice, and it
 * reconnects for ever, at least once a second.
 *
 * @throws DataAccessError `DRIVER_MISSING` when ioredis is not installed.
 */
export async function makeRedisClient(url: string): Promise<RedisClient> {
  const { Redis } = await loadIoredis()
  return new Redis(url, {
    lazyConnect: true,
    // A command sent later than its caller waits is of no use, and an old one sent twice can do harm.
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    autoResubscribe: false,
    connectTimeout: 2000,
    retryStrategy: (times: number) => Math.min(25 * 2 ** times, longestRetryMs),
    // After a failover the old primary answers READONLY: the name leads to the new one.
    reconnectOnError: (error: Error) => error.message.startsWith('READONLY'),
  })
}

/**
 * Ends a connection that seems to stand, and opens a new one: one whose other end is gone may look open for minutes, also before
 * it was ever ready, since the timeout for connecting ends with the handshake of TCP.
 */
export function reconnect(client: RedisClient): void {
  if (client.status === 'ready' || client.status === 'connect') client.disconnect(true)
}

/**
 * Ends a client for good and at once: closed in good order, it would first send all that still waits to be sent, and wait two seconds for
 * a server that does not answer.
 */
export function discard(client: RedisClient): void {
  client.disconnect()
  // Not there before the first connection, whatever its type says.
  if ('stream' in client) client.stream?.destroy()
}

/** Loads ioredis, or rejects with `DRIVER_MISSING`. */
export async function loadIoredis(): Promise<Pick<typeof import('ioredis'), 'Redis'>> {
  return import('ioredis').catch((cause: unknown) => {
    const absent = ['ERR_MODULE_NOT_FOUND', 'MODULE_NOT_FOUND'].includes(String((cause as { code?: unknown } | null)?.code))
    const what = absent ? 'is not installed' : `cannot be loaded: ${cause instanceof Error ? cause.message : String(cause)}`
    throw new DataAccessError('DRIVER_MISSING', `The package ioredis ${what}; run: npm install ioredis@6`, { cause })
  })
}

/** Clients whose settings were told: one may serve the cache, wakes and a publisher, which is made ready with each start. */
const warnedOf = new WeakSet<RedisClient>()

/**
 * Warns, once, of settings of a caller's own client. What waits hurts outside this library alone: we ask the client for nothing while it
 * is not connected, and wait for no answer longer than our own timeout. A connection that is not given up hurts here too, since
 * we end no client that is not ours.
 */
export function warnOfClientSettings(client: RedisClient, logger: Logger): void {
  const options: WatchedSettings =
    'redisOptions' in client.options ? { ...client.options.redisOptions, ...client.options } : client.options
  const asksSentinels = (options.sentinels?.length ?? 0) > 0
  const risky = [
    ...(options.enableOfflineQueue === false ? [] : ['enableOfflineQueue: true lets commands wait while Redis is away']),
    ...(options.commandTimeout === undefined ? ['without commandTimeout a command to a stalled Redis waits for ever'] : []),
    ...(options.socketTimeout === undefined
      ? ['without socketTimeout a connection whose other end is gone is kept for minutes, and nothing comes through meanwhile']
      : []),
    ...(asksSentinels && options.failoverDetector !== true
      ? ['without failoverDetector: true it writes on to a master that a Sentinel has replaced, which loses what it is told']
      : []),
  ]
  if (risky.length === 0 || warnedOf.has(client)) return
  warnedOf.add(client)
  logger.warn('The ioredis client that was given has risky settings', { settings: risky })
}

interface WatchedSettings {
  readonly enableOfflineQueue?: unknown
  readonly commandTimeout?: unknown
  readonly socketTimeout?: unknown
  readonly sentinels?: readonly unknown[] | null | undefined
  readonly failoverDetector?: unknown
}
