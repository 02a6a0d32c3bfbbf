import { DataAccessError, hasErrorCode } from '../errors.ts'
import type { RedisClient } from './redis-client.ts'
import type { RedisConnection } from './redis-connection.ts'

/** From so many bytes on one text may be what a connection, or Redis itself, cannot take in time. */
const largeBytes = 100_000

/** For so many bytes, as for an ordinary wave, the timeout is meant. */
const bytesPerTimeout = 1_000_000

/** What {@link runSized} sends. */
export interface SizedCommand {
  /** Names the command in errors. */
  readonly what: string
  /** What travels with it. */
  readonly texts: readonly string[]
  /** Milliseconds to wait for the answer to each MB. */
  readonly timeoutMs: number
  /** Aborts when nobody waits for the answer any more. */
  readonly signal: AbortSignal
}

/**
 * Runs a command. A single large text gets a timeout for each MB, and is sent to a Redis that has just answered a PING: when it still
 * does not arrive, that is its own failure and none of Redis. A PING beside it would wait behind it, on the same connection; given up, it
 * takes that connection with it, if it is ours, so that nothing else has to wait behind what is left of it.
 *
 * @throws what {@link RedisConnection.run} throws; for such a text DataAccessError `REDIS_COMMAND_FAILED` instead of `REDIS_UNAVAILABLE`.
 */
export async function runSized<T>(
  redis: RedisConnection,
  { what, texts, timeoutMs, signal }: SizedCommand,
  command: (client: RedisClient) => Promise<T>,
): Promise<T> {
  const bytes = texts.length === 1 ? Buffer.byteLength(texts[0] as string) : 0
  if (bytes < largeBytes) return redis.run(what, command, timeoutMs)
  await redis.ping(timeoutMs).catch((error: unknown) => {
    // Refused is answered, too.
    if (!hasErrorCode(error, 'REDIS_COMMAND_FAILED')) throw error
  })
  signal.throwIfAborted()
  const patience = timeoutMs * Math.ceil(bytes / bytesPerTimeout)
  let used: RedisClient | undefined
  const giveUp = () => {
    if (used !== undefined) redis.abandon(used)
  }
  const send = (client: RedisClient) => {
    // It may have come while the connection was awaited.
    signal.throwIfAborted()
    used = client
    return command(client)
  }
  signal.addEventListener('abort', giveUp, { once: true })
  try {
    return await redis.run(what, send, patience)
  } catch (error) {
    if (!hasErrorCode(error, 'REDIS_UNAVAILABLE')) throw error
    giveUp()
    throw notTaken({ address: redis.address, command: what, bytes, timeoutMs: patience }, error)
  } finally {
    signal.removeEventListener('abort', giveUp)
  }
}

function notTaken(context: Readonly<Record<'address' | 'command' | 'bytes' | 'timeoutMs', unknown>>, cause: unknown): Error {
  const { address, command, bytes, timeoutMs } = context
  return new DataAccessError(
    'REDIS_COMMAND_FAILED',
    `Redis at ${address} answered a PING, and did not take the ${bytes} bytes of one ${command} within ${timeoutMs} ms. Raise timeoutMs, or keep payloads smaller`,
    { cause, context },
  )
}

/** Tells whether an error says that Redis is away, or our connection to it at its end; not whether that is the cause of what it says. */
export function isRedisAway(error: unknown): boolean {
  return error instanceof DataAccessError && (error.code === 'REDIS_UNAVAILABLE' || error.code === 'CLOSED')
}
