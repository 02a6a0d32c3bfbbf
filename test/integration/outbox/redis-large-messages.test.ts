import { createConnection, createServer } from 'node:net'
import { afterEach, beforeEach, describe, expect, inject, onTestFinished, test } from 'vitest'
import type { Publisher } from '../../../src/outbox/publishing/publisher.ts'
import { redisPubSub } from '../../../src/publishers/redis-pubsub/redis-pubsub.ts'
import { redisStreams } from '../../../src/publishers/redis-streams/redis-streams.ts'
import { contractEvent } from '../../../src/testing/publisher-contract.ts'
import { openTestDatabase } from '../../support/databases.ts'
import { openOutbox } from '../../support/outbox-bench.ts'
import { openTestRedis, type TestRedis } from '../../support/redis.ts'
import { freePort } from '../../support/servers/server-process.ts'

let ground: TestRedis
beforeEach(async () => {
  ground = await openTestRedis()
})
afterEach(() => ground.close())

interface Options {
  readonly url: string
  readonly timeoutMs?: number
}
const publishers: [string, (options: Options) => Publisher][] = [
  ['Streams', (options) => redisStreams({ ...options, stream: `${ground.prefix}{large}` })],
  ['Pub/Sub', (options) => redisPubSub({ ...options, channel: `${ground.prefix}large` })],
]
const context = { signal: new AbortController().signal }
const large = (bytes: number) => [contractEvent('big', 'x'.repeat(bytes))]

/**
 * A way to Redis that ends each connection on which more than so many bytes were sent, as Redis itself does with what is too large, or
 * carries nothing more on it, as one does for a long time that is slow.
 */
async function openNarrow(bytes: number, beyond: 'ends' | 'stands still'): Promise<string> {
  const port = await freePort()
  const server = createServer((client) => {
    const redis = createConnection(Number(new URL(inject('redisUrl')).port), '127.0.0.1')
    let sent = 0
    client.on('data', (data) => {
      sent += data.length
      if (sent <= bytes) redis.write(data)
      else if (beyond === 'ends') client.destroy()
      else client.pause()
    })
    redis.on('data', (data) => client.write(data))
    for (const [one, other] of [
      [client, redis],
      [redis, client],
    ] as const) {
      one.on('error', () => undefined)
      one.on('close', () => other.destroy())
    }
  })
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  return `redis://127.0.0.1:${port}`
}

describe.each(publishers)('a publisher to Redis %s', (_, open) => {
  test('waits for a single large message as long as for as many waves', async () => {
    const publisher = open({ url: ground.url, timeoutMs: 50 })
    // Connects first: that is not what takes long.
    await expect.poll(() => publisher.publish([contractEvent('small', 1)], context)).toEqual([{ status: 'published' }])
    expect(await publisher.publish(large(30_000_000), context)).toEqual([{ status: 'published' }])
    await publisher.close?.()
  })

  test.each(['ends', 'stands still'] as const)(
    'takes a message that never arrives on a way that %s for the failure of that event, and goes on without a pause',
    async (beyond) => {
      const database = await openTestDatabase('postgresql')
      onTestFinished(() => database.close())
      const bench = await openOutbox(database.url)
      onTestFinished(() => bench.close())
      const publisher = open({ url: await openNarrow(300_000, beyond), timeoutMs: 500 })
      await bench.record('big', ['x'.repeat(400_000)])
      for (const n of [1, 2, 3]) await bench.record(`small ${n}`, [n])
      const relay = bench.outbox.relay({ publisher, retry: { attempts: 2, baseMs: 1, maxMs: 5 } })
      const pauses: string[] = []
      relay.on('paused', ({ error }) => void pauses.push(error.message))
      await relay.start()
      await expect.poll(() => relay.status().deadLettered, { timeout: 15_000 }).toBe(1)
      await bench.record('small 4', [4])
      await expect.poll(() => relay.status().published, { timeout: 15_000 }).toBe(4)
      expect(pauses).toEqual([])
      expect((await bench.outbox.deadLetters.list())[0]).toMatchObject({
        aggregateId: 'big',
        reason: 'exhausted',
        error: expect.stringMatching(/answered a PING, and did not take the 400\d+ bytes/),
      })
      await relay.stop()
      await publisher.close?.()
    },
  )

  test('keeps no small message waiting behind large ones that never arrive', { timeout: 60_000 }, async () => {
    const database = await openTestDatabase('sqlite')
    onTestFinished(() => database.close())
    const bench = await openOutbox(database.url)
    onTestFinished(() => bench.close())
    const publisher = open({ url: await openNarrow(300_000, 'stands still'), timeoutMs: 500 })
    for (let n = 0; n < 8; n++) await bench.record(`big ${n}`, ['x'.repeat(400_000)])
    await bench.record('small', [1])
    const relay = bench.outbox.relay({
      publisher,
      ...{ publishTimeout: 1000, lease: 4000, retry: { attempts: 1000, baseMs: 20, maxMs: 100 } },
    })
    const tried = new Set<string>()
    relay.on('retried', ({ eventId }) => void tried.add(eventId))
    await relay.start()
    await expect.poll(() => relay.status().published, { timeout: 15_000 }).toBe(1)
    await expect.poll(() => tried.size, { timeout: 25_000 }).toBe(8)
    await relay.stop({ deadline: 0 })
    await publisher.close?.()
  })

  test('has nothing wait behind a large message that was cut off', async () => {
    const publisher = open({ url: await openNarrow(300_000, 'stands still'), timeoutMs: 1000 })
    await expect.poll(() => publisher.publish([contractEvent('small', 1)], context)).toEqual([{ status: 'published' }])
    const late = new Error('late')
    // Long before it would be given up, and long after it was begun.
    const abort = new AbortController()
    setTimeout(() => abort.abort(late), 200)
    expect(await publisher.publish(large(3_000_000), abort)).toEqual([{ status: 'retryable', error: late }])
    expect(await publisher.publish([contractEvent('small', 2)], context)).toEqual([{ status: 'published' }])
    await publisher.close?.()
  })

  test('takes a Redis that is away for away, also before a large message', async () => {
    const publisher = open({ url: `redis://127.0.0.1:${await freePort()}` })
    expect(await publisher.publish(large(2_000_000), context)).toMatchObject([{ status: 'unavailable' }])
    await publisher.close?.()
  })

  test('refuses to start once it is closed, and blames no event for that', async () => {
    const database = await openTestDatabase('sqlite')
    onTestFinished(() => database.close())
    const publisher = open({ url: ground.url })
    const first = await openOutbox(database.url)
    first.data.outbox.relay({ publisher })
    await first.close()
    const bench = await openOutbox(database.url)
    onTestFinished(() => bench.close())
    const [id] = await bench.record('a', [1])
    const relay = bench.outbox.relay({ publisher })
    await expect(relay.start()).rejects.toMatchObject({ code: 'CLOSED', message: expect.stringContaining('make a new one') })
    await expect(relay.drain()).rejects.toMatchObject({ code: 'CLOSED' })
    expect(await bench.rows()).toEqual([{ id, status: 'pending', attempts: 0, last_error: null }])
    expect(await publisher.publish([contractEvent('a', 1)], context)).toMatchObject([{ status: 'unavailable' }])
  })
})
