import { DataAccessError } from '../../errors.ts'
import type { Logger } from '../../kernel/logger.ts'
import { callable, checkOptions, either, record, text, wholeFrom } from '../../kernel/options.ts'
import { type Message, publishInPortions } from '../../outbox/publishing/portions.ts'
import type { OutboxEvent, Outcome, PublishContext, Publisher } from '../../outbox/publishing/publisher.ts'
import { Turns } from '../../outbox/publishing/turns.ts'
import { isRedisAway, runSized } from '../../redis/large-command.ts'
import { RedisConnection } from '../../redis/redis-connection.ts'
import { checkRedisOptions, type RedisOptions, redisTimeout } from '../../redis/redis-options.ts'
import { isRedisReply, tellsServerState } from '../../redis/redis-reply.ts'
import { appendToStream, type StreamBounds } from './append-script.ts'
import { canRememberIds } from './remembered-ids.ts'
import { writeEntry } from './stream-entry.ts'

/** How {@link redisStreams} publishes. */
export interface RedisStreamsOptions extends Omit<RedisOptions, 'timeoutMs'> {
  /**
   * The stream of every event, or a function that names one; events of one ordering key need one stream to stay in order.
   * Default: {@link defaultStream}. A name without a hash tag of its own, as in `{orders}`, holds no `}`.
   */
  readonly stream?: string | ((event: OutboxEvent) => string) | undefined
  /** Roughly how many entries a stream keeps, the newest; consumers that lag further lose events. Default: all. */
  readonly maxLength?: number | undefined
  /**
   * For how long, and for how many of the last events of a stream, a repetition is dropped: default an hour (3,600,000 ms) and
   * 100,000 ids, some 10 MB. A repetition from before is appended again.
   */
  readonly dedupe?: { readonly windowMs?: number | undefined; readonly maxIds?: number | undefined } | undefined
  /**
   * Milliseconds to wait for the answers to one wave, of a large one or a large event to each MB; 1 … 60,000, default 2000. Keep
   * it below half of the relay's `publishTimeout`, so that none is cut off.
   */
  readonly timeoutMs?: number | undefined
}

const defaultTimeoutMs = 2000

/** Holds all events unless `stream` says otherwise; those who read begin here. */
export const defaultStream = 'domain-events'

/**
 * Appends events to Redis streams (see {@link StreamEntry}), one script per wave and stream, of a large wave per MB. **Atomic?** No.
 * **Ordered?** The entries of a stream stand in the order of publishing. **Idempotent?** Within the window of `dedupe`: a
 * repetition is published, and appended no second time.
 *
 * @throws DataAccessError `OPTION_INVALID`, `REDIS_URL_INVALID`.
 */
export function redisStreams(options: RedisStreamsOptions): Publisher {
  return new RedisStreamsPublisher(options)
}

class RedisStreamsPublisher implements Publisher {
  readonly name = 'redis-streams'
  readonly #redis: RedisConnection
  readonly #turns = new Turns()
  readonly #timeoutMs: number
  readonly #streamOf: (event: OutboxEvent) => string
  readonly #bounds: StreamBounds

  constructor(options: RedisStreamsOptions) {
    const bounds = { timeoutMs: redisTimeout, maxLength: wholeFrom(1), dedupe: record }
    checkRedisOptions('redisStreams', options, { stream: either(text, callable), ...bounds })
    const { stream, maxLength = 0, dedupe = {}, timeoutMs = defaultTimeoutMs, url, client } = options
    checkOptions({ door: 'redisStreams', under: 'dedupe' }, dedupe, { windowMs: wholeFrom(1), maxIds: wholeFrom(1) })
    if (typeof stream === 'string') checkStream(stream)
    this.#bounds = { windowMs: dedupe.windowMs ?? 3_600_000, maxIds: dedupe.maxIds ?? 100_000, maxLength }
    this.#timeoutMs = timeoutMs
    // Without a logger: the relay tells of a Redis that is away, and what it does meanwhile.
    this.#redis = new RedisConnection({ url, client, timeoutMs })
    this.#streamOf = typeof stream === 'function' ? stream : () => stream ?? defaultStream
  }

  async prepare(surroundings?: { readonly logger: Logger }): Promise<void> {
    await this.#redis.prepare(surroundings?.logger)
  }

  async publish(events: readonly OutboxEvent[], context: PublishContext): Promise<readonly Outcome[]> {
    return publishInPortions(events, context, this.#turns, {
      place: (event) => this.#place(event),
      write: writeEntry,
      publish: (entries, signal) => this.#append(entries, signal),
    })
  }

  async close(): Promise<void> {
    await this.#redis.close()
  }

  #place(event: OutboxEvent): string {
    const stream: unknown = this.#streamOf(event)
    if (typeof stream !== 'string' || stream === '') {
      throw new DataAccessError('OPTION_INVALID', `redisStreams: stream named no stream for event type "${event.type}"`)
    }
    checkStream(stream)
    return stream
  }

  async #append(entries: readonly Message[], signal: AbortSignal): Promise<Outcome[]> {
    const streams = new Map<string, Message[]>()
    for (const entry of entries) if (!streams.get(entry.place)?.push(entry)) streams.set(entry.place, [entry])
    const outcomes = new Map<Message, Outcome>()
    let lost: Outcome | undefined
    try {
      const texts = entries.map(({ text }) => text)
      await runSized(this.#redis, { what: 'XADD', texts, timeoutMs: this.#timeoutMs, signal }, (client) =>
        // Commands of one tick travel together; a pipeline could not span the nodes of a cluster.
        Promise.all(
          [...streams].map(async ([stream, own]) => {
            const texts = own.map(({ text }) => text)
            const errors = await appendToStream(client, stream, texts, this.#bounds).catch((error: unknown) => {
              // A reply concerns this stream alone; anything else is the connection, and so all of them.
              if (isRedisReply(error)) return new Map(own.map((_, index) => [index, error.message]))
              throw error
            })
            for (const [index, entry] of own.entries()) outcomes.set(entry, outcomeOf(stream, errors.get(index)))
          }),
        ),
      )
    } catch (error) {
      lost = { status: isRedisAway(error) ? 'unavailable' : 'retryable', error }
    }
    return entries.map((entry) => outcomes.get(entry) ?? (lost as Outcome))
  }
}

/** @throws DataAccessError `OPTION_INVALID` for a stream beside which a cluster could not keep its ids. */
function checkStream(stream: string): void {
  if (canRememberIds(stream)) return
  throw new DataAccessError(
    'OPTION_INVALID',
    `redisStreams: stream is "${stream}"; give a name without "}", or one with a hash tag, as in "{orders}": a Redis Cluster could not keep the ids of this one beside it`,
    { context: { option: 'stream', stream } },
  )
}

function outcomeOf(stream: string, reply: string | undefined): Outcome {
  if (reply === undefined) return { status: 'published' }
  const remedy = /^(MOVED|ASK)\b/.test(reply) ? '. This is one node of a Redis Cluster: give a Cluster of ioredis as client' : ''
  const error = new DataAccessError('REDIS_COMMAND_FAILED', `Redis refused an entry of stream "${stream}": ${reply}${remedy}`, {
    context: { stream, reply: reply.split(' ', 1)[0] },
  })
  return { status: tellsServerState(reply) ? 'unavailable' : 'retryable', error }
}
