import { Redis } from 'ioredis'
import { afterEach, describe, expect, inject, test } from 'vitest'
import { EventRecord, writeMessage } from '../../src/outbox/publishing/event-record.ts'
import { toPublisher } from '../../src/outbox/publishing/function-publisher.ts'
import { publishToAll } from '../../src/outbox/publishing/publish-to-all.ts'
import { type EventMessage, type OutboxEvent, type Publisher, unavailable } from '../../src/outbox/publishing/publisher.ts'
import { redisPubSub } from '../../src/publishers/redis-pubsub/redis-pubsub.ts'
import { redisStreams } from '../../src/publishers/redis-streams/redis-streams.ts'
import type { StreamEntry } from '../../src/publishers/redis-streams/stream-entry.ts'
import { MemoryPublisher } from '../../src/testing/memory-publisher.ts'
import {
  contractEvent,
  type DeliveredEvent,
  type PublisherContext,
  publisherContract,
} from '../../src/testing/publisher-contract.ts'
import { openTestRedis } from '../support/redis.ts'
import { openProxy } from '../support/tcp-proxy.ts'

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

const toDelivered = ({ id, type, aggregateId, payload, headers, sequence }: OutboxEvent): DeliveredEvent => {
  return { id, type, aggregateId, payload, headers, sequence }
}

/** A publisher without a broker; its outage is one that it is told of. */
function inMemory(make: (failing: () => unknown) => { publisher: Publisher; events: readonly OutboxEvent[] }): PublisherContext {
  let away: unknown
  const { publisher, events } = make(() => away)
  return {
    publisher,
    delivered: async () => events.map(toDelivered),
    outage: {
      begin: async () => {
        away = unavailable(new Error('away'))
      },
      end: async () => {
        away = undefined
      },
    },
  }
}

test('an event is written as JSON as its message is, its payload as it was stored', () => {
  const plain = contractEvent('k', { at: '2026-01-01T00:00:00.000Z', text: 'ünïcode "quoted"\n' })
  // As a definition may read it: JSON has neither.
  const event = new EventRecord({ ...plain, payload: { at: new Date(), big: 1n }, decoded: true })
  expect(JSON.parse(JSON.stringify(event))).toEqual(JSON.parse(writeMessage(event)))
  expect(JSON.parse(JSON.stringify([event]))).toEqual([
    {
      ...{ id: event.id, type: 'ContractChecked', aggregateType: 'Contract', aggregateId: 'k', payload: plain.payload },
      ...{ headers: event.headers, createdAt: event.createdAt.toISOString(), sequence: String(event.sequence), schemaVersion: 1 },
    },
  ])
})

/** A publisher behind a proxy, and a real subscriber that reaches Redis directly. */
async function throughRedis(fault: 'refuse' | 'stall'): Promise<PublisherContext> {
  const redis = await openTestRedis()
  const port = Number(new URL(inject('redisUrl')).port)
  const proxy = await openProxy(port)
  const subscriber = new Redis(redis.url)
  const messages: DeliveredEvent[] = []
  await subscriber.psubscribe(`${redis.prefix}*`)
  subscriber.on('pmessage', (_pattern, _channel, text) => {
    const message = JSON.parse(text) as EventMessage
    const { id, type, aggregateId, payload, headers } = message
    messages.push({ id, type, aggregateId, payload, headers, sequence: BigInt(message.sequence) })
  })
  const publisher = redisPubSub({
    url: `redis://127.0.0.1:${proxy.port}`,
    channel: (event) => `${redis.prefix}${event.type}`,
    timeoutMs: 500,
  })
  closers.push(
    () => redis.close(),
    () => proxy.close().catch(() => {}),
    () => subscriber.quit(),
    async () => publisher.close?.(),
  )
  return {
    publisher,
    delivered: async (count) => {
      await expect.poll(() => messages.length, { interval: 5, timeout: 5000 }).toBeGreaterThanOrEqual(count)
      return messages
    },
    outage:
      fault === 'refuse'
        ? { begin: () => proxy.refuse(), end: () => proxy.accept() }
        : { begin: async () => proxy.stall(), end: async () => proxy.resume() },
  }
}

/** A publisher behind a proxy, and a reader that reaches the stream directly. */
async function throughStream(fault: 'refuse' | 'stall'): Promise<PublisherContext> {
  const redis = await openTestRedis()
  const proxy = await openProxy(Number(new URL(inject('redisUrl')).port))
  const reader = new Redis(redis.url)
  const stream = `{${redis.prefix}}events`
  const publisher = redisStreams({ url: `redis://127.0.0.1:${proxy.port}`, stream, timeoutMs: 500 })
  closers.push(
    async () => void (await reader.del(stream, `${stream}:published`)),
    () => proxy.close().catch(() => {}),
    async () => publisher.close?.(),
  )
  closers.unshift(() => reader.quit())
  const delivered = async () =>
    (await reader.xrange(stream, '-', '+')).map(([, fields]): DeliveredEvent => {
      const pairs = Array.from({ length: fields.length / 2 }, (_, n) => fields.slice(2 * n, 2 * n + 2))
      const { id, type, aggregateId, payload, headers, sequence } = Object.fromEntries(pairs) as StreamEntry
      return { id, type, aggregateId, payload: JSON.parse(payload), headers: JSON.parse(headers), sequence: BigInt(sequence) }
    })
  return {
    publisher,
    delivered,
    outage:
      fault === 'refuse'
        ? { begin: () => proxy.refuse(), end: () => proxy.accept() }
        : { begin: async () => proxy.stall(), end: async () => proxy.resume() },
  }
}

const makers: Record<string, () => Promise<PublisherContext>> = {
  'the function publisher': async () =>
    inMemory((failing) => {
      const events: OutboxEvent[] = []
      const publish = (event: OutboxEvent) => {
        const error = failing()
        if (error !== undefined) throw error
        events.push(event)
      }
      return { publisher: toPublisher(publish), events }
    }),
  'the memory publisher': async () =>
    inMemory((failing) => {
      const publisher = new MemoryPublisher(failing)
      return { publisher, events: publisher.published }
    }),
  'two publishers as one': async () =>
    inMemory((failing) => {
      const publisher = new MemoryPublisher()
      return { publisher: publishToAll('both', [publisher, new MemoryPublisher(failing)]), events: publisher.published }
    }),
  'two publishers as one, of which one goes through Redis': async () => {
    const { publisher, ...through } = await throughStream('refuse')
    return { publisher: publishToAll('both', [new MemoryPublisher(), publisher]), ...through }
  },
  'Redis Pub/Sub': () => throughRedis('refuse'),
  'Redis Pub/Sub, where an outage is a stall': () => throughRedis('stall'),
  'Redis Streams': () => throughStream('refuse'),
  'Redis Streams, where an outage is a stall': () => throughStream('stall'),
}

describe.each(Object.entries(makers))('the publisher contract: %s', (_name, make) => {
  for (const { name, run } of publisherContract()) test(name, async () => run(await make()))
})
