import { DataAccessError } from '../../errors.ts'
import type { Logger } from '../../kernel/logger.ts'
import { callable, either, text } from '../../kernel/options.ts'
import { writeMessage } from '../../outbox/publishing/event-record.ts'
import { type Message, publishInPortions } from '../../outbox/publishing/portions.ts'
import type { EventMessage, OutboxEvent, Outcome, PublishContext, Publisher } from '../../outbox/publishing/publisher.ts'
import { Turns } from '../../outbox/publishing/turns.ts'
import { isRedisAway, runSized } from '../../redis/large-command.ts'
import { RedisConnection } from '../../redis/redis-connection.ts'
import { checkRedisOptions, type RedisOptions, redisTimeout } from '../../redis/redis-options.ts'
import { isRedisReply, tellsServerState } from '../../redis/redis-reply.ts'

/** How {@link redisPubSub} publishes. */
export interface RedisPubSubOptions extends Omit<RedisOptions, 'timeoutMs'> {
  /** The channel of every event, or a function that names one. Default: {@link defaultChannel} of its type. */
  readonly channel?: string | ((event: OutboxEvent) => string) | undefined
  /**
   * Milliseconds to wait for the answers to one wave, of a large one or a large event to each MB; 1 … 60,000, default 2000. Keep
   * it below half of the relay's `publishTimeout`, so that none is cut off.
   */
  readonly timeoutMs?: number | undefined
}

const defaultTimeoutMs = 2000

/** Names the channel of an event type unless `channel` says otherwise, for those who subscribe: `domain-events.<type>`. */
export function defaultChannel(type: string): string {
  return `domain-events.${type}`
}

/**
 * Publishes events on Redis channels, one JSON message each (see {@link EventMessage}). **Atomic?** No. **Ordered?** The
 * messages of a channel arrive in the order of publishing. **Idempotent?** No: a repetition has the same `id`. Redis
 * acknowledges a message whether or not anybody is subscribed, and keeps none: what nobody hears is gone. Where that is not
 * enough, publish to a stream or a queue.
 *
 * @throws DataAccessError `OPTION_INVALID`, `REDIS_URL_INVALID`.
 */
export function redisPubSub(options: RedisPubSubOptions): Publisher {
  return new RedisPubSubPublisher(options)
}

class RedisPubSubPublisher implements Publisher {
  readonly name = 'redis-pubsub'
  readonly #redis: RedisConnection
  readonly #turns = new Turns()
  readonly #timeoutMs: number
  readonly #channelOf: (event: OutboxEvent) => string

  constructor(options: RedisPubSubOptions) {
    checkRedisOptions('redisPubSub', options, { timeoutMs: redisTimeout, channel: either(text, callable) })
    const { channel, timeoutMs = defaultTimeoutMs, url, client } = options
    this.#timeoutMs = timeoutMs
    // Without a logger: the relay tells of a Redis that is away, and what it does meanwhile.
    this.#redis = new RedisConnection({ url, client, timeoutMs })
    this.#channelOf = typeof channel === 'function' ? channel : ({ type }) => channel ?? defaultChannel(type)
  }

  async prepare(surroundings?: { readonly logger: Logger }): Promise<void> {
    await this.#redis.prepare(surroundings?.logger)
  }

  async publish(events: readonly OutboxEvent[], context: PublishContext): Promise<readonly Outcome[]> {
    return publishInPortions(events, context, this.#turns, {
      place: (event) => this.#place(event),
      write: writeMessage,
      publish: (messages, signal) => this.#send(messages, signal),
    })
  }

  async close(): Promise<void> {
    await this.#redis.close()
  }

  #place(event: OutboxEvent): string {
    const channel: unknown = this.#channelOf(event)
    if (typeof channel === 'string' && channel !== '') return channel
    throw new DataAccessError('OPTION_INVALID', `redisPubSub: channel named no channel for event type "${event.type}"`)
  }

  async #send(messages: readonly Message[], signal: AbortSignal): Promise<Outcome[]> {
    try {
      const texts = messages.map(({ text }) => text)
      const command = { what: 'PUBLISH', texts, timeoutMs: this.#timeoutMs, signal }
      const answers = await runSized(this.#redis, command, async (client) => {
        const pipeline = client.pipeline()
        for (const { place, text } of messages) pipeline.publish(place, text)
        const answers = await pipeline.exec()
        // That the connection ended is an answer only where some commands may have had theirs before.
        const error = answers?.length === 1 ? answers[0]?.[0] : undefined
        if (error != null && !isRedisReply(error)) throw error
        return answers
      })
      // The pipeline resolves also when commands in it failed: each answer is read.
      return messages.map((_, index) => outcomeOf(answers?.[index]))
    } catch (error) {
      const away = isRedisAway(error)
      return messages.map(() => ({ status: away ? 'unavailable' : 'retryable', error }))
    }
  }
}

function outcomeOf(answer: readonly [Error | null, unknown] | undefined): Outcome {
  const error = answer === undefined ? new Error('Redis gave no answer to this command') : answer[0]
  if (error === null) return { status: 'published' }
  // What is no reply is the end of the connection.
  const away = !isRedisReply(error) || tellsServerState(error.message)
  return { status: away ? 'unavailable' : 'retryable', error }
}
