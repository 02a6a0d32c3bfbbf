import { DataAccessError, hasErrorCode } from '../../errors.ts'
import { callable, checkOptions, either, record, text, wholeFrom } from '../../kernel/options.ts'
import { type OutboxEvent, type Outcome, outcomeOfError, type Publisher } from '../../outbox/publishing/publisher.ts'
import { RedisConnection } from '../../redis/redis-connection.ts'
import { checkRedisOptions, type RedisOptions, redisTimeout } from '../../redis/redis-options.ts'
import { isRedisReply, tellsServerState } from '../../redis/redis-reply.ts'
import { appendToStream, type StreamBounds } from './append-script.ts'

/** How {@link redisStreams} publishes. */
export interface RedisStreamsOptions extends Omit<RedisOptions, 'timeoutMs'> {
  /**
   * The stream of every event, or a function that names one; events of one ordering key need one stream to stay in order.
   * Default: {@link defaultStream}.
   */
  readonly stream?: string | ((event: OutboxEvent) => string)
  /** Roughly how many entries a stream keeps, the newest; consumers that lag further lose events. Default: all. */
  readonly maxLength?: number
  /**
   * For how long, and for how many of the last events of a stream, a repetition is dropped: default an hour (3,600,000 ms) and
   * 100,000 ids, some 10 MB. A repetition from before is appended again.
   */
  readonly dedupe?: { readonly windowMs?: number; readonly maxIds?: number }
  /** Milliseconds to wait for the answers to one wave; 1 … 60,000, default 2000. Keep it below the relay's `publishTimeout`. */
  readonly timeoutMs?: number
}

const defaultTimeoutMs = 2000

/** Holds all events unless `stream` says otherwise; those who read begin here. */
export const defaultStream = 'domain-events'

/**
 * Appends events to Redis streams (see {@link StreamEntry}), one script per wave and stream. **Atomic?** No. **Ordered?** The
 * entries of a stream stand in the order of publishing. **Idempotent?** Within the window of `dedupe`: a repetition is
 * published, and appended no second time.
 *
 * @throws DataAccessError `OPTION_INVALID`, `REDIS_URL_INVALID`.
 */
export function redisStreams(options: RedisStreamsOptions): Publisher {
  return new RedisStreamsPublisher(options)
}

class RedisStreamsPublisher implements Publisher {
  readonly name = 'redis-streams'
  readonly #redis: RedisConnection
  readonly #streamOf: (event: OutboxEvent) => string
  readonly #bounds: StreamBounds

  constructor(options: RedisStreamsOptions) {
    const bounds = { timeoutMs: redisTimeout, maxLength: wholeFrom(1), dedupe: record }
    checkRedisOptions('redisStreams', options, { stream: either(text, callable), ...bounds })
    const { stream, maxLength = 0, dedupe = {}, timeoutMs = defaultTimeoutMs, url, client } = options
    checkOptions({ door: 'redisStreams', under: 'dedupe' }, dedupe, { windowMs: wholeFrom(1), maxIds: wholeFrom(1) })
    this.#bounds = { windowMs: dedupe.windowMs ?? 3_600_000, maxIds: dedupe.maxIds ?? 100_000, maxLength }
    this.#redis = new RedisConnection({ url, client, timeoutMs })
    this.#streamOf = typeof stream === 'function' ? stream : () => stream ?? defaultStream
  }

  async prepare(): Promise<void> {
    await this.#redis.prepare()
  }

  async publish(events: readonly OutboxEvent[], { signal }: { readonly signal: AbortSignal }): Promise<readonly Outcome[]> {
    if (events.length === 0) return []
    signal.throwIfAborted()
    const outcomes = new Map<OutboxEvent, Outcome>()
    const streams = new Map<string, OutboxEvent[]>()
    for (const event of events) {
      const stream = this.#place(event)
      if (typeof stream !== 'string') outcomes.set(event, stream)
      else if (!streams.get(stream)?.push(event)) streams.set(stream, [event])
    }
    if (streams.size > 0) await this.#append(streams, outcomes)
    return events.map((event) => outcomes.get(event) as Outcome)
  }

  async close(): Promise<void> {
    await this.#redis.close()
  }

  /** The stream of an event. A function that fails for an event fails for this event alone. */
  #place(event: OutboxEvent): string | Outcome {
    try {
      const stream: unknown = this.#streamOf(event)
      if (typeof stream === 'string' && stream !== '') return stream
      const message = `redisStreams: stream named no stream for event type "${event.type}"`
      return { status: 'retryable', error: new DataAccessError('OPTION_INVALID', message) }
    } catch (error) {
      return outcomeOfError(error)
    }
  }

  async #append(streams: ReadonlyMap<string, readonly OutboxEvent[]>, outcomes: Map<OutboxEvent, Outcome>): Promise<void> {
    try {
      await this.#redis.run('XADD', (client) =>
        // Commands of one tick travel together; a pipeline could not span the nodes of a cluster.
        Promise.all(
          [...streams].map(async ([stream, events]) => {
            const errors = await appendToStream(client, stream, events, this.#bounds).catch((error: unknown) => {
              // A reply concerns this stream alone; anything else is the connection, and so all of them.
              if (isRedisReply(error)) return new Map(events.map((_, index) => [index, error.message]))
              throw error
            })
            for (const [index, event] of events.entries()) outcomes.set(event, outcomeOf(stream, errors.get(index)))
          }),
        ),
      )
    } catch (error) {
      const status = hasErrorCode(error, 'REDIS_UNAVAILABLE') ? 'unavailable' : 'retryable'
      for (const event of [...streams.values()].flat()) {
        if (!outcomes.has(event)) outcomes.set(event, { status, error })
      }
    }
  }
}

function outcomeOf(stream: string, reply: string | undefined): Outcome {
  if (reply === undefined) return { status: 'published' }
  const error = new DataAccessError('REDIS_COMMAND_FAILED', `Redis refused an entry of stream "${stream}": ${reply}`, {
    context: { stream, reply: reply.split(' ', 1)[0] },
  })
  return { status: tellsServerState(reply) ? 'unavailable' : 'retryable', error }
}
