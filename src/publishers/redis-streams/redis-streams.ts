import { DataAccessError } from '../../errors.ts'
import { callable, checkOptions, either, record, text, wholeFrom } from '../../kernel/options.ts'
import type { OutboxEvent, Outcome, Publisher } from '../../outbox/publishing/publisher.ts'
import { RedisPublisher, type RedisPublishing } from '../../outbox/publishing/redis-publisher.ts'
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
  const numbers = { timeoutMs: redisTimeout, maxLength: wholeFrom(1), dedupe: record }
  checkRedisOptions('redisStreams', options, { stream: either(text, callable), ...numbers })
  const { stream, maxLength = 0, dedupe = {} } = options
  checkOptions({ door: 'redisStreams', under: 'dedupe' }, dedupe, { windowMs: wholeFrom(1), maxIds: wholeFrom(1) })
  if (typeof stream === 'string') checkStream(stream)
  const streamOf = typeof stream === 'function' ? stream : () => stream ?? defaultStream
  const bounds = { windowMs: dedupe.windowMs ?? 3_600_000, maxIds: dedupe.maxIds ?? 100_000, maxLength }
  return new RedisPublisher(options, {
    name: 'redis-streams',
    what: 'XADD',
    place: (event) => checked(streamOf(event), event),
    write: writeEntry,
    send: appendWithin(bounds),
  })
}

function checked(stream: unknown, { type }: OutboxEvent): string {
  if (typeof stream !== 'string' || stream === '') {
    throw new DataAccessError('OPTION_INVALID', `redisStreams: stream named no stream for event type "${type}"`)
  }
  checkStream(stream)
  return stream
}

const appendWithin =
  (bounds: StreamBounds): RedisPublishing['send'] =>
  async (client, entries, tell) => {
    const streams = Map.groupBy(entries, ({ place }) => place)
    // Commands of one tick travel together; a pipeline could not span the nodes of a cluster.
    await Promise.all(
      [...streams].map(async ([stream, own]) => {
        const texts = own.map(({ text }) => text)
        const errors = await appendToStream(client, stream, texts, bounds).catch((error: unknown) => {
          // A reply concerns this stream alone; anything else is the connection, and so all of them.
          if (isRedisReply(error)) return new Map(own.map((_, index) => [index, error.message]))
          throw error
        })
        for (const [index, entry] of own.entries()) tell(entry, outcomeOf(stream, errors.get(index)))
      }),
    )
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
