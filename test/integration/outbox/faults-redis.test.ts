import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Publisher } from '../../../src/outbox/publisher.ts'
import type { Relay } from '../../../src/outbox/relay.ts'
import { redisPubSub } from '../../../src/publishers/redis-pubsub/redis-pubsub.ts'
import { openTestDatabase, type TestDatabase } from '../../support/databases.ts'
import { type OutboxUnderTest, openOutbox } from '../../support/outbox-bench.ts'
import { type Delivery, findInversion } from '../../support/relay-process.ts'
import { openRedisServer, type RestartableServer } from '../../support/servers/restartable-servers.ts'
import { openProxy, type TcpProxy } from '../../support/tcp-proxy.ts'

/** Longer than several probes, one a second. */
const outageMs = process.env.SOAK === '1' ? 60_000 : 3500

describe('a relay to a Redis', () => {
  let database: TestDatabase
  let bench: OutboxUnderTest
  let server: RestartableServer
  let proxy: TcpProxy
  let publisher: Publisher
  let relay: Relay
  let subscriber: Redis
  let heard: Delivery[]
  let written: number

  beforeEach(async () => {
    database = await openTestDatabase('postgresql')
    bench = await openOutbox(database.url)
    server = await openRedisServer()
    proxy = await openProxy(Number(new URL(server.url).port))
    heard = []
    written = 0
    subscriber = new Redis(server.url, { retryStrategy: () => 50 })
    subscriber.on('error', () => {})
    subscriber.on('message', (_, text) => {
      const { id, aggregateId, payload } = JSON.parse(text)
      heard.push({ id, key: aggregateId, payload })
    })
    await subscriber.subscribe('domain-events.NoteTagged')
    publisher = redisPubSub({ url: `redis://127.0.0.1:${proxy.port}`, timeoutMs: 300 })
    relay = bench.outbox.relay({ publisher, batchSize: 20, pollInterval: { min: 5, max: 50 } })
    await relay.start()
    await write()
    await expect.poll(() => heard.length, { timeout: 10_000 }).toBe(9)
  })
  afterEach(async () => {
    server.thaw()
    await relay.stop({ deadline: 1000 })
    await publisher.close?.()
    subscriber.disconnect()
    await bench.close()
    await proxy.close().catch(() => {})
    await server.close()
    await database.close()
  })

  const write = async () => {
    for (const key of ['a', 'b', 'c']) await bench.record(key, [written, written + 1, written + 2])
    written += 3
  }
  const paused = () => expect.poll(() => relay.status().paused, { timeout: 10_000, interval: 10 }).toBe('publisher')
  /** Everything was published, in order, without a spent attempt, and, as far as it was heard at all, in the order of its key. */
  const delivered = async () => {
    await expect.poll(() => relay.status().published, { timeout: 30_000, interval: 20 }).toBe(written * 3)
    const rows = await bench.rows()
    expect(rows.every(({ status, attempts }) => status === 'published' && attempts === 0)).toBe(true)
    expect(bench.logger.errors).toEqual([])
  }
  const allHeard = async () => {
    await expect.poll(() => new Set(heard.map(({ id }) => id)).size, { timeout: 10_000 }).toBe(written * 3)
    expect(findInversion(heard)).toBeUndefined()
  }

  test('that stands still (SIGSTOP) for many probes gets everything when it goes on', { timeout: 120_000 }, async () => {
    server.freeze()
    await write()
    await paused()
    await write()
    await delay(outageMs)
    server.thaw()
    await delivered()
    await allHeard()
  })

  test('behind a network that stands still gets everything when it goes on', { timeout: 120_000 }, async () => {
    proxy.stall()
    await write()
    await paused()
    await write()
    await delay(outageMs)
    proxy.resume()
    await delivered()
    await allHeard()
  })

  test('whose connections look open and are dead is reached by a new one', { timeout: 120_000 }, async () => {
    proxy.stall()
    await write()
    await paused()
    proxy.cut()
    proxy.resume()
    await delivered()
    await allHeard()
  })

  test('that is down for many probes spends no attempt, and is published to when it is back', { timeout: 120_000 }, async () => {
    await server.crash()
    await write()
    await paused()
    await write()
    await delay(outageMs)
    await server.start()
    await delivered()
    // Pub/Sub keeps nothing for a subscriber that is not back yet; what it hears is in order.
    const last = new Map<string, number>()
    for (const { key, payload } of heard) {
      expect(Number(payload)).toBeGreaterThanOrEqual(last.get(key) ?? 0)
      last.set(key, Number(payload))
    }
  })

  test('that refuses single commands of a pipeline retries those alone, and holds back their keys', {
    timeout: 60_000,
  }, async () => {
    await relay.stop()
    await publisher.close?.()
    const admin = new Redis(server.url)
    await admin.call('ACL', 'SETUSER', 'relay', 'on', 'nopass', '+@all', '~*', 'resetchannels', '&domain-events.*')
    publisher = redisPubSub({
      url: `redis://relay:any@127.0.0.1:${proxy.port}`,
      channel: ({ aggregateId, payload }) =>
        aggregateId === 'b' && payload === 4 ? 'forbidden.channel' : 'domain-events.NoteTagged',
    })
    relay = bench.outbox.relay({ publisher, retry: { attempts: 50, baseMs: 50, maxMs: 100 }, pollInterval: { min: 5, max: 50 } })
    const retried: number[] = []
    relay.on('retried', ({ attempts }) => void retried.push(attempts))
    await relay.start()
    await write()
    await expect.poll(() => retried.length, { timeout: 20_000 }).toBeGreaterThan(2)
    await expect.poll(() => heard.filter(({ key }) => key !== 'b').length, { timeout: 10_000 }).toBe(12)
    expect(heard.filter(({ key }) => key === 'b').map(({ payload }) => payload)).toEqual([0, 1, 2, 3])
    await admin.call('ACL', 'SETUSER', 'relay', 'allchannels')
    await expect.poll(() => heard.filter(({ key }) => key === 'b').map(({ payload }) => payload)).toContain(5)
    expect(findInversion(heard.filter(({ key }) => key !== 'b'))).toBeUndefined()
    const pending = () => bench.rows().then((rows) => rows.filter(({ status }) => status === 'pending').length)
    await expect.poll(pending).toBe(0)
    await admin.quit()
  })
})
