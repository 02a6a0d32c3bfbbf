import type { Logger } from '../kernel/logger.ts'
import { discard, makeRedisClient, type RedisClient, reconnect } from './redis-client.ts'
import type { RedisOptions } from './redis-options.ts'
import { isRedisReply } from './redis-reply.ts'

/** What a {@link RedisSubscription} tells beside messages. */
export interface SubscriptionEvents {
  /** The connection was made or lost: messages may have been missed. Must not throw. */
  readonly onConnection?: () => void
  /** Redis answered that these channels may not be heard. Must not throw. */
  readonly onRefused?: (reply: Error) => void
}

/** Hears channels over a connection of its own, for as long as it takes: it comes back after every loss. */
export class RedisSubscription {
  readonly #client: Promise<RedisClient | undefined>
  #closed = false

  /** Begins to connect and returns at once. @param onMessage must not throw. */
  constructor(
    options: RedisOptions,
    channels: readonly string[],
    onMessage: (text: string, channel: string) => void,
    logger: Logger,
    events: SubscriptionEvents = {},
  ) {
    this.#client = this.#open(options, channels, onMessage, events).catch((error: unknown) => {
      logger.error(`The channel ${channels[0]} of Redis cannot be heard`, { error })
      return undefined
    })
  }

  /** Connects anew: a connection whose other end is gone may look open for minutes. */
  async reconnect(): Promise<void> {
    const client = await this.#client
    if (!this.#closed && client !== undefined) reconnect(client)
  }

  /** Ends the connection at once. May be called twice. */
  async close(): Promise<void> {
    this.#closed = true
    const client = await this.#client
    if (client !== undefined) discard(client)
  }

  async #open(
    { url, client: given }: RedisOptions,
    channels: readonly string[],
    onMessage: (text: string, channel: string) => void,
    { onConnection = () => undefined, onRefused = () => undefined }: SubscriptionEvents,
  ): Promise<RedisClient> {
    // A connection that hears can do nothing else, so a caller's own client is left alone and copied.
    const client = given === undefined ? await makeRedisClient(url as string) : copyOf(given)
    client.on('error', () => undefined) // the sending side tells it
    let hearing = connectionOf(client)
    client.on('message', (channel: string, text: string) => {
      // A cluster changes the node that it hears without a word: what was sent between the two is lost.
      const now = connectionOf(client)
      if (now !== hearing) onConnection()
      hearing = now
      onMessage(text, channel)
    })
    client.on('close', onConnection)
    client.on('ready', () => {
      onConnection()
      // Any other failure is the end of this connection, and the next one subscribes again.
      client.subscribe(...channels).catch((error: unknown) => isRedisReply(error) && onRefused(error))
    })
    if (client.status === 'wait' && !this.#closed) client.connect().catch(() => undefined)
    return client
  }
}

// Of its own accord a client subscribes again without looking at the answer: lost on the way, it would end the process as an
// unhandled rejection. A cluster looks.
function copyOf(client: RedisClient): RedisClient {
  return 'nodes' in client ? client.duplicate() : client.duplicate({ autoResubscribe: false })
}

/** What hears for a client: ioredis keeps that of a cluster to itself. */
function connectionOf(client: RedisClient): unknown {
  return (client as { readonly subscriber?: { getInstance?(): unknown } }).subscriber?.getInstance?.()
}
