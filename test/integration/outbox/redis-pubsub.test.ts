import { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest'
import { defaultChannel, redisPubSub } from '../../../src/publishers/redis-pubsub/redis-pubsub.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../../support/databases.ts'
import { NoteTagged } from '../../support/notes-module.ts'
import { type OutboxUnderTest, openOutbox } from '../../support/outbox-bench.ts'
import { openProxy } from '../../support/tcp-proxy.ts'

describe.each(dialects)('a relay to Redis Pub/Sub on %s', (dialect) => {
  let database: TestDatabase
  let bench: OutboxUnderTest
  let subscriber: Redis
  let messages: { channel: string; body: Record<string, unknown> }[]
  /** Channels are shared by all of the tests: each looks at its own aggregate. */
  let key: string

  beforeEach(async () => {
    database = await openTestDatabase(dialect)
    bench = await openOutbox(database.url)
    key = crypto.randomUUID()
    messages = []
    subscriber = new Redis(inject('redisUrl'))
    await subscriber.subscribe(defaultChannel(NoteTagged.type))
    subscriber.on('message', (channel, text) => {
      const body = JSON.parse(text)
      if (body.aggregateId === key) messages.push({ channel, body })
    })
  })
  afterEach(async () => {
    await subscriber.quit()
    await bench.close()
    await database.close()
  })

  test('a real subscriber gets the whole event, on the channel of its type', async () => {
    const [id] = await bench.record(key, [{ big: 1.5, text: 'ü' }], { headers: { tenant: 't' } })
    const publisher = redisPubSub({ url: inject('redisUrl') })
    await bench.outbox.relay({ publisher }).drain()
    await publisher.close?.()
    await expect.poll(() => messages.length).toBe(1)
    expect(messages[0]).toMatchObject({
      channel: 'domain-events.NoteTagged',
      body: {
        id,
        type: 'NoteTagged',
        aggregateType: 'Note',
        aggregateId: key,
        payload: { big: 1.5, text: 'ü' },
        headers: { tenant: 't' },
        schemaVersion: 1,
        sequence: expect.stringMatching(/^\d+$/),
        createdAt: expect.stringMatching(/^\d{4}-.*Z$/),
      },
    })
  })

  test('while Redis is away nothing is lost and no attempt is spent; when it is back, order holds', async () => {
    const proxy = await openProxy(Number(new URL(inject('redisUrl')).port))
    const publisher = redisPubSub({ url: `redis://127.0.0.1:${proxy.port}`, timeoutMs: 200 })
    const relay = bench.outbox.relay({ publisher, pollInterval: { min: 5, max: 20 } })
    await relay.start()
    await bench.record(key, [1])
    await expect.poll(() => messages.length).toBe(1)
    await proxy.refuse()
    await bench.record(key, [2, 3])
    await expect.poll(() => relay.status().paused?.cause, { timeout: 5000 }).toBe('publisher')
    await proxy.accept()
    await expect.poll(() => relay.status().published, { timeout: 10_000 }).toBe(3)
    await relay.stop()
    await publisher.close?.()
    await proxy.close().catch(() => {})
    const first = [...new Set(messages.map(({ body }) => body.payload))]
    expect(first).toEqual([1, 2, 3])
    expect((await bench.rows()).every((row) => row.attempts === 0)).toBe(true)
  })
})
