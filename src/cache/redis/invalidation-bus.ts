import { randomUUID } from 'node:crypto'
import { type Clock, longestSince, type Moment, momentOf } from '../../kernel/clock.ts'
import type { Logger } from '../../kernel/logger.ts'
import type { RedisConnection } from '../../redis/redis-connection.ts'
import type { RedisOptions } from '../../redis/redis-options.ts'
import { RedisSubscription } from '../../redis/redis-subscription.ts'
import { rightsRemedy } from './missing-rights.ts'

/** What processes tell each other: what one of them has expired. */
export interface BusMessage {
  readonly from: string
  readonly keys: readonly string[]
}

/** The channel of all caches with one prefix. */
export function busChannel(prefix: string): string {
  return `${prefix}bus`
}

const beatMs = 250
/** So long after a beat was sent the bus counts as sound, if that beat was heard. */
const silenceMs = 1000
/** After so long a silence the connection is made anew: it may look open for minutes when its other end is gone. */
const patienceMs = 3000

/** What an {@link InvalidationBus} works with. */
export interface BusParts {
  readonly options: RedisOptions
  readonly redis: RedisConnection
  readonly prefix: string
  /** Names this process. */
  readonly self: string
  /** Another process has expired these keys. */
  readonly onExpired: (keys: readonly string[]) => void
  /** Messages may have been lost. */
  readonly onGap: () => void
  readonly clock: Clock
  readonly logger: Logger
}

/**
 * Hears what other processes expire, and knows whether it hears: it sends itself a beat over the same connection, so that a beat
 * which arrives has overtaken nothing. After a reconnect or a silence what was missed is unknown, and `onGap` is called.
 */
export class InvalidationBus {
  readonly #parts: BusParts
  readonly #ownChannel: string
  readonly #subscription: RedisSubscription
  readonly #timer: NodeJS.Timeout
  /** When the last beat that was heard had been sent. */
  #beatAt: Moment | undefined
  #refusalTold = false
  /** The last sign of life of the subscription, or attempt to give it one. */
  #signAt: number

  constructor(parts: BusParts) {
    this.#parts = parts
    this.#signAt = parts.clock.now()
    const { options, prefix, logger } = parts
    this.#ownChannel = `${busChannel(prefix)}:${randomUUID()}`
    this.#subscription = new RedisSubscription(
      options,
      [busChannel(prefix), this.#ownChannel],
      (text, channel) => this.#hear(text, channel),
      logger,
      {
        // Until a beat that was sent after this has been heard, nothing proves that the subscription stands.
        onConnection: () => this.#lost(),
        onRefused: (reply) => this.#refused(reply),
      },
    )
    this.#timer = setInterval(() => this.#beat(), beatMs)
    this.#timer.unref()
  }

  /** True while all that was expired up to a moment ago has been heard; not after a time for which the machine was suspended. */
  sound(): boolean {
    return longestSince(this.#beatAt, this.#parts.clock) < silenceMs
  }

  /** May be called twice. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    this.#lost()
    await this.#subscription.close()
  }

  #beat(): void {
    const { redis, clock } = this.#parts
    const sentAt = momentOf(clock)
    const beat = `${sentAt.now} ${sentAt.wall}`
    // A beat that does not get through is a silence, and that is all there is to do about it.
    redis.run('beating on the bus', (client) => client.publish(this.#ownChannel, beat)).catch(() => undefined)
    if (this.sound() || sentAt.now - this.#signAt < patienceMs) return
    this.#signAt = sentAt.now
    void this.#subscription.reconnect()
  }

  #hear(text: string, channel: string): void {
    if (channel === this.#ownChannel) {
      if (!this.sound()) this.#parts.onGap()
      const [now, wall] = text.split(' ').map(Number) as [number, number]
      this.#beatAt = { now, wall }
      this.#signAt = this.#parts.clock.now()
      return
    }
    const message = toBusMessage(text)
    // Whatever else somebody sends here, it may stand for what we do not understand.
    if (message === undefined) this.#parts.onGap()
    else if (message.from !== this.#parts.self) this.#parts.onExpired(message.keys)
  }

  /** Told once: it is tried again and again, and without the bus no copy is served. */
  #refused(reply: Error): void {
    const { prefix, logger } = this.#parts
    if (!this.#refusalTold) {
      const remedy = reply.message.startsWith('NOPERM') ? `; ${rightsRemedy(prefix)}` : ''
      logger.warn(`Redis refused the channel ${busChannel(prefix)}, so no copies are served in this process${remedy}`, {
        cause: reply.message,
      })
    }
    this.#refusalTold = true
  }

  #lost(): void {
    this.#beatAt = undefined
    this.#parts.onGap()
  }
}

function toBusMessage(text: string): BusMessage | undefined {
  try {
    const { from, keys } = JSON.parse(text) as Partial<BusMessage>
    return typeof from === 'string' && Array.isArray(keys) ? { from, keys } : undefined
  } catch {
    return undefined
  }
}
