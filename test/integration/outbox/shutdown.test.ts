import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { createDataAccess } from '../../../src/data-access.ts'
import type { Publisher } from '../../../src/outbox/publishing/publisher.ts'
import { redisPubSub } from '../../../src/publishers/redis-pubsub/redis-pubsub.ts'
import { MemoryPublisher } from '../../../src/testing/memory-publisher.ts'
import { openTestDatabase } from '../../support/databases.ts'
import { MemoryLogger } from '../../support/memory-logger.ts'
import { NoteTagged, notes } from '../../support/notes-module.ts'
import { openOutbox } from '../../support/outbox-bench.ts'
import { repository } from '../../support/programs.ts'
import { openTestRedis } from '../../support/redis.ts'

describe('the production wiring', () => {
  it.each(['redisPubSub', 'redisStreams'])('with %s ends by itself after SIGTERM, having published', async (kind) => {
    const [database, redis] = await Promise.all([openTestDatabase('postgresql'), openTestRedis()])
    const args = ['test/support/production-in-child.ts', database.url, redis.url, redis.prefix, kind]
    const child = spawn(process.execPath, args, { cwd: repository, stdio: ['ignore', 'pipe', 'inherit'] })
    const ended = once(child, 'exit')
    try {
      await Promise.race([once(child.stdout, 'data'), ended.then(() => Promise.reject(new Error('the child ended early')))])
      child.kill('SIGTERM')
      // Killed by the test's end, it would have a signal in place of a code.
      expect(await ended).toEqual([0, null])
    } finally {
      child.kill('SIGKILL')
      await Promise.all([database.close(), redis.close()])
    }
  })
})

describe('closing a data access', () => {
  const open = async () => {
    const logger = new MemoryLogger()
    const data = await createDataAccess({ modules: [notes], logger })
    await data.migrate()
    return { data, logger }
  }

  it.each([{ deadline: -1 }, { deadline: '10s' }, { dedline: 10 }])('its outbox refuses to stop by %j', async (options) => {
    const { data } = await open()
    await expect(data.outbox.stop(options as object)).rejects.toMatchObject({
      code: 'OPTION_INVALID',
      message: expect.stringContaining('outbox.stop'),
    })
    await data.close()
  })

  it('closes the publisher of its relay once, after the last event was published', async () => {
    const { data, logger } = await open()
    const memory = new MemoryPublisher()
    const steps: string[] = []
    const began = Promise.withResolvers<void>()
    const publisher: Publisher = {
      name: 'slow',
      publish: async (events, context) => {
        began.resolve()
        await new Promise((resolve) => setTimeout(resolve, 20))
        steps.push(...events.map(({ payload }) => `published ${payload}`))
        return memory.publish(events, context)
      },
      close: async () => void steps.push('closed'),
    }
    // A relay of its own for each, and one publisher.
    await data.outbox.relay({ publisher }).drain()
    await data.outbox.relay({ publisher }).start()
    await data.unitOfWork(async ({ record }) => void record(NoteTagged, 'a', 1))
    await began.promise
    await Promise.all([data.close(), data.close()])
    expect(steps).toEqual(['published 1', 'closed'])
    expect(logger.errors).toEqual([])
  })

  it('lets a relay mark what it published when its time is over, and leave, so that nobody waits for it or blames an event', async () => {
    const database = await openTestDatabase('postgresql')
    const opened = async () => {
      const bench = await openOutbox(database.url)
      const seen: unknown[] = []
      // A lease that ends while a test waits would hide a relay that did not leave.
      const relay = (ms: number) =>
        bench.data.outbox.relay({
          publisher: async ({ payload }) => {
            await delay(ms)
            seen.push(payload)
          },
          lease: 300_000,
        })
      return { bench, seen, relay }
    }
    const first = await opened()
    await first.bench.record(
      'a',
      Array.from({ length: 100 }, (_, n) => n),
    )
    await first.relay(50).start()
    await expect.poll(() => first.seen.length, { timeout: 20_000 }).toBeGreaterThan(3)
    await first.bench.data.close({ deadline: 200 })
    const second = await opened()
    expect(await second.bench.sql('select id from outbox_relays')).toEqual([])
    const relay = second.relay(0)
    await relay.start()
    await expect.poll(async () => (await second.bench.outbox.stats()).backlog, { timeout: 20_000 }).toBe(0)
    const rows = await second.bench.rows()
    expect(rows.every(({ attempts, last_error }) => attempts === 0 && last_error === null)).toBe(true)
    // The one that was cut off may have come through, and comes again; nothing else does.
    const from = Number(second.seen[0])
    expect([first.seen.length, first.seen.length - 1]).toContain(from)
    expect(second.seen).toEqual(Array.from({ length: 100 - from }, (_, n) => from + n))
    await second.bench.data.close()
    await database.close()
  }, 60_000)

  it.each([
    ['throws', () => Promise.reject(new Error('still busy')), [expect.stringContaining('Publisher "bad" could not be closed')]],
    ['hangs', () => new Promise<void>(() => {}), []],
  ])('ends also when the publisher that it closes %s', async (_, close, logged) => {
    const { data, logger } = await open()
    await data.outbox.relay({ publisher: { name: 'bad', publish: async () => [], close } }).drain()
    await data.close()
    expect(logger.errors.map(({ message }) => message)).toEqual(logged)
  })

  it('leaves the client that its publisher was given to its owner', async () => {
    const redis = await openTestRedis()
    const client = new Redis(redis.url, { commandTimeout: 10_000, enableOfflineQueue: false, lazyConnect: true })
    await client.connect()
    const { data } = await open()
    await data.outbox.relay({ publisher: redisPubSub({ client }) }).drain()
    await data.close()
    expect(await client.ping()).toBe('PONG')
    await client.quit()
    await redis.close()
  })
})
