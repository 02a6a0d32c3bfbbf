import { Redis } from 'ioredis'
import { expect } from 'vitest'
import type { OutboxEvent, Publisher } from '../../src/outbox/publishing/publisher.ts'
import type { RelayOptions } from '../../src/outbox/relay/relay-options.ts'
import { redisPubSub } from '../../src/publishers/redis-pubsub/redis-pubsub.ts'
import { defaultStream, redisStreams } from '../../src/publishers/redis-streams/redis-streams.ts'
import { openTestDatabase } from './databases.ts'
import { openOutbox } from './outbox-bench.ts'
import { type Delivery, findInversion } from './relay-process.ts'
import { openRedisServer } from './servers/restartable-servers.ts'
import { openProxy } from './tcp-proxy.ts'

/** What differs between the two publishers: how to make one, and how to read what arrived. */
interface Way {
  /** @param place names the channel or the stream of an event. */
  open(url: string, place?: (event: OutboxEvent) => string): Publisher
  /** Begins to listen where that is needed; the function returned gives what arrived, in order. */
  listen(redis: Redis, places: readonly string[]): Promise<() => Promise<Delivery[]>>
  /** Where the events of the tests go unless told otherwise. */
  readonly place: string
}

const timeoutMs = 300

const ways = {
  'Redis Pub/Sub': {
    open: (url, place) => redisPubSub({ url, timeoutMs, ...(place && { channel: place }) }),
    listen: async (redis, places) => {
      const heard: Delivery[] = []
      redis.on('message', (_, text) => {
        const { id, aggregateId, payload } = JSON.parse(text)
        heard.push({ id, key: aggregateId, payload })
      })
      await redis.subscribe(...places)
      return async () => heard
    },
    place: 'domain-events.NoteTagged',
  },
  'Redis Streams': {
    open: (url, place) => redisStreams({ url, timeoutMs, ...(place && { stream: place }) }),
    listen: async (redis, places) => async () => {
      const streams = await Promise.all(places.map((place) => redis.xrange(place, '-', '+')))
      return streams.flat().map(([, fields]) => {
        const field = (name: string) => fields[fields.indexOf(name) + 1] as string
        return { id: field('id'), key: field('aggregateId'), payload: JSON.parse(field('payload')) }
      })
    },
    place: defaultStream,
  },
} as const satisfies Record<string, Way>

/** The publishers of ours that need a Redis. */
export const redisPublishers = Object.keys(ways) as (keyof typeof ways)[]
export type RedisPublisher = (typeof redisPublishers)[number]

/** The channel or the stream of the tests' events. */
export function placeOf(kind: RedisPublisher): string {
  return ways[kind].place
}

/** A relay that runs, to a Redis of its own behind a proxy, with what its publisher said of every event. */
export type RelayToRedis = Awaited<ReturnType<typeof openRelayToRedis>>

/** Starts the relay and waits until the first nine events have arrived. */
export async function openRelayToRedis(
  kind: RedisPublisher,
  options: Partial<RelayOptions> & { readonly place?: (event: OutboxEvent) => string } = {},
) {
  const way: Way = ways[kind]
  const { place, ...relayOptions } = options
  const database = await openTestDatabase('postgresql')
  const bench = await openOutbox(database.url)
  const server = await openRedisServer()
  const proxy = await openProxy(Number(new URL(server.url).port))
  /** To the server itself, and soon back after a restart. */
  const connect = () => new Redis(server.url, { retryStrategy: () => 50 }).on('error', () => {})
  const [admin, ears] = [connect(), connect()]
  const arrived = await way.listen(ears, [way.place])
  const publisher = way.open(`redis://127.0.0.1:${proxy.port}`, place)
  const said = new Map<string, string[]>()
  const relay = bench.outbox.relay({
    publisher: {
      ...publisher,
      name: publisher.name,
      publish: async (events, context) => {
        const outcomes = await publisher.publish(events, context)
        for (const [index, { id }] of events.entries()) said.set(id, [...(said.get(id) ?? []), outcomes[index]?.status as string])
        return outcomes
      },
    },
    batchSize: 20,
    pollInterval: { min: 5, max: 50 },
    ...relayOptions,
  })
  const told: string[] = []
  relay.on('paused', ({ cause }) => void told.push(`paused ${cause}`))
  relay.on('resumed', ({ cause }) => void told.push(`resumed ${cause}`))
  let written = 0
  const write = async () => {
    for (const key of ['a', 'b', 'c']) await bench.record(key, [written, written + 1, written + 2])
    written += 3
  }
  const allPublished = () => expect.poll(() => relay.status().published, { timeout: 30_000, interval: 20 }).toBe(written * 3)

  const ground = {
    bench,
    server,
    proxy,
    relay,
    admin,
    arrived,
    /** Records three events for each of three keys. */
    write,
    paused: () => expect.poll(() => relay.status().paused?.cause, { timeout: 10_000, interval: 10 }).toBe('publisher'),
    /** Everything is published and marked; no outage was taken for a failure; the relay went on by itself. */
    delivered: async () => {
      await allPublished()
      const rows = await bench.rows()
      expect(rows.every(({ status, attempts }) => status === 'published' && attempts === 0)).toBe(true)
      expect(relay.status()).toMatchObject({ retried: 0, deadLettered: 0, paused: undefined })
      expect(bench.logger.errors).toEqual([])
      expect(told.slice(0, 2)).toEqual(['paused publisher', 'resumed publisher'])
      expect(told.at(-1)).toBe('resumed publisher')
      for (const { id } of rows) {
        expect(said.get(id)?.at(-1)).toBe('published')
        expect(new Set(said.get(id)?.slice(0, -1))).not.toContain('published')
        expect(said.get(id)).not.toContain('retryable')
      }
    },
    /** All of it arrived, in the order of its key; twice only what was said to be in doubt, and in a stream nothing. */
    allArrived: async () => {
      await allPublished()
      await expect.poll(async () => new Set((await arrived()).map(({ id }) => id)).size, { timeout: 10_000 }).toBe(written * 3)
      const deliveries = await arrived()
      expect(findInversion(deliveries)).toBeUndefined()
      if (kind === 'Redis Streams') expect(deliveries).toHaveLength(written * 3)
      for (const { id } of deliveries) {
        const times = deliveries.filter((delivery) => delivery.id === id).length
        expect(times).toBeLessThanOrEqual(said.get(id)?.length ?? 0)
      }
    },
    close: async () => {
      server.thaw()
      await relay.stop({ deadline: 1000 })
      await publisher.close?.()
      for (const client of [admin, ears]) client.disconnect()
      await bench.close()
      await proxy.close().catch(() => {})
      await server.close()
      await database.close()
    },
  }
  await relay.start()
  await write()
  await expect.poll(async () => (await arrived()).length, { timeout: 10_000 }).toBe(9)
  return ground
}
