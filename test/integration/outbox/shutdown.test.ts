import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { createDataAccess } from '../../../src/data-access.ts'
import type { Publisher } from '../../../src/outbox/publishing/publisher.ts'
import { redisPubSub } from '../../../src/publishers/redis-pubsub/redis-pubsub.ts'
import { MemoryPublisher } from '../../../src/testing/memory-publisher.ts'
import { openTestDatabase } from '../../support/databases.ts'
import { MemoryLogger } from '../../support/memory-logger.ts'
import { NoteTagged, notes } from '../../support/notes-module.ts'
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
