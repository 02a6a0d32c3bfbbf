import { DataAccessError } from '../../errors.ts'
import { callable, either, text } from '../../kernel/options.ts'
import { writeMessage } from '../../outbox/publishing/event-record.ts'
import type { EventMessage, OutboxEvent, Outcome, Publisher } from '../../outbox/publishing/publisher.ts'
import { RedisPublisher, type RedisPublishing } from '../../outbox/publishing/redis-publisher.ts'
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
  checkRedisOptions('redisPubSub', options, { timeoutMs: redisTimeout, channel: either(text, callable) })
  const { channel } = options
  const channelOf = typeof channel === 'function' ? channel : ({ type }: OutboxEvent) => channel ?? defaultChannel(type)
  return new RedisPublisher(options, {
    name: 'redis-pubsub',
    what: 'PUBLISH',
    place: (event) => checked(channelOf(event), event),
    write: writeMessage,
    send: publishAll,
  })
}

function checked(channel: unknown, { type }: OutboxEvent): string {
  if (typeof channel === 'string' && channel !== '') return channel
  throw new DataAccessError('OPTION_INVALID', `redisPubSub: channel named no channel for event type "${type}"`)
}

const publishAll: RedisPublishing['send'] = async (client, messages, tell) => {
  const pipeline = client.pipeline()
  for (const { place, text } of messages) pipeline.publish(place, text)
  const answers = await pipeline.exec()
  // That the connection ended is an answer only where some commands may have had theirs before.
  const error = answers?.length === 1 ? answers[0]?.[0] : undefined
  if (error != null && !isRedisReply(error)) throw error
  // The pipeline resolves also when commands in it failed: each answer is read.
  for (const [index, message] of messages.entries()) tell(message, outcomeOf(answers?.[index]))
}

function outcomeOf(answer: readonly [Error | null, unknown] | undefined): Outcome {
  const error = answer === undefined ? new Error('Redis gave no answer to this command') : answer[0]
  if (error === null) return { status: 'published' }
  // What is no reply is the end of the connection.
  const away = !isRedisReply(error) || tellsServerState(error.message)
  return { status: away ? 'unavailable' : 'retryable', error }
}
