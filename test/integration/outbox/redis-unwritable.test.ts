import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest'
import { silentLogger } from '../../../src/kernel/logger.ts'
import type { Publisher } from '../../../src/outbox/publishing/publisher.ts'
import { redisPubSub } from '../../../src/publishers/redis-pubsub/redis-pubsub.ts'
import { redisStreams } from '../../../src/publishers/redis-streams/redis-streams.ts'
import { RedisConnection } from '../../../src/redis/redis-connection.ts'
import { contractEvent } from '../../../src/testing/publisher-contract.ts'
import { openTestDatabase } from '../../support/databases.ts'
import { openOutbox } from '../../support/outbox-bench.ts'
import { openTestRedis, type TestRedis } from '../../support/redis.ts'
import { openProxyTo } from '../../support/tcp-proxy.ts'

const context = { signal: new AbortController().signal }

const publishers: [string, (url: string, place: (n: unknown) => string) => Publisher][] = [
  ['Pub/Sub', (url, place) => redisPubSub({ url, channel: ({ payload }) => place(payload), timeoutMs: 1000 })],
  ['Streams', (url, place) => redisStreams({ url, stream: ({ payload }) => place(payload), timeoutMs: 1000 })],
]

describe.each(publishers)('Redis %s', (_, open) => {
  let ground: TestRedis
  let closers: (() => unknown)[]
  beforeEach(async () => {
    ground = await openTestRedis()
    closers = [() => ground.close()]
  })
  afterEach(async () => {
    for (const close of closers.reverse()) await close()
  })

  function publisherTo(place: (n: unknown) => string, url = ground.url): Publisher {
    const publisher = open(url, place)
    closers.push(() => publisher.close?.())
    return publisher
  }

  test('an event that can never be written is a dead letter, and the relay goes on', async () => {
    const database = await openTestDatabase('postgresql')
    closers.push(() => database.close())
    const bench = await openOutbox(database.url)
    closers.push(() => bench.close())
    const [odd] = await bench.record('odd', [0])
    await bench.record('odd', [1])
    await bench.record('good', [2])
    // As another program may write it: JavaScript has no such date.
    await bench.sql("update domain_events set created_at = 'infinity' where id = ?", [odd])
    const relay = bench.outbox.relay({ publisher: publisherTo(() => `${ground.prefix}{events}`) })
    expect(await relay.drain()).toEqual({ published: 2, retried: 0, deadLettered: 1 })
    const [letter] = await bench.outbox.deadLetters.list()
    expect(letter).toMatchObject({ id: odd, reason: 'permanent' })
    expect(letter?.error).toContain(`Event ${odd} of type "NoteTagged" cannot be written as a message ← RangeError`)
  })

  test('a function that names the place is asked once for each event', async () => {
    const asked: unknown[] = []
    const publisher = publisherTo((n) => {
      asked.push(n)
      if (asked.length > 2) throw new Error('asked too often')
      return `${ground.prefix}{events}`
    })
    const outcomes = await publisher.publish([contractEvent('a', 1), contractEvent('b', 2)], context)
    expect(outcomes.map(({ status }) => status)).toEqual(['published', 'published'])
    expect(asked).toEqual([1, 2])
  })

  test('of a wave of many MB what Redis has acknowledged is published, and what follows a stall does not go out', async () => {
    const proxy = await openProxyTo(ground.url)
    closers.push(() => proxy.close())
    const watcher = new Redis(ground.url)
    closers.push(() => watcher.disconnect())
    const subscriber = new Redis(ground.url)
    closers.push(() => subscriber.disconnect())
    const place = `${ground.prefix}{events}`
    let heard = 0
    subscriber.on('message', () => void heard++)
    await subscriber.subscribe(place)
    const arrived = async () => heard + (await watcher.xlen(place))
    // Not so large that one goes alone: some eleven of them are one portion.
    const [count, portion] = [900, 12]
    const payloadJson = JSON.stringify('x'.repeat(90_000))
    const events = Array.from({ length: count }, (_, n) => ({ ...contractEvent(`k${n}`, n), payloadJson }))
    const publisher = publisherTo(() => place, proxy.url)
    const publishing = publisher.publish(events, context)
    // A second portion goes out once the first is acknowledged.
    while ((await arrived()) <= portion) await delay(1)
    proxy.stall()
    const outcomes = await publishing
    const published = outcomes.filter(({ status }) => status === 'published').length
    expect(published).toBeGreaterThan(0)
    expect(outcomes.slice(published).map(({ status }) => status)).toEqual(Array(count - published).fill('unavailable'))
    proxy.resume()
    await delay(100)
    // Of those that are unavailable no more than the portion that was under way has arrived, and will arrive twice.
    expect(await arrived()).toBeLessThanOrEqual(published + portion)
    expect(published).toBeLessThan(count - portion)
  })
})

test('what is wrong in how a command is made is told as it is, and is no outage', async () => {
  const connection = new RedisConnection({ url: inject('redisUrl'), timeoutMs: 1000 }, { logger: silentLogger })
  try {
    for (let n = 0; n < 5; n++) {
      const attempt = connection.run('PING', async () => new Date(Number.NaN).toISOString())
      await expect(attempt).rejects.toThrow(RangeError)
    }
    expect(connection.circuit).toBe('closed')
    expect(await connection.ping()).toBeGreaterThan(0)
  } finally {
    await connection.close()
  }
})
