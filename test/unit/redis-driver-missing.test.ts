import * as v from 'valibot'
import { expect, test, vi } from 'vitest'
import manifest from '../../package.json' with { type: 'json' }
import { redisCache } from '../../src/cache/redis/redis-cache.ts'
import { createDataAccess } from '../../src/data-access.ts'
import { silentLogger } from '../../src/kernel/logger.ts'
import { defineEvent } from '../../src/outbox/event/define-event.ts'
import { redisPubSub } from '../../src/publishers/redis-pubsub/redis-pubsub.ts'
import { redisStreams } from '../../src/publishers/redis-streams/redis-streams.ts'
import { RedisConnection } from '../../src/redis/redis-connection.ts'

vi.mock('ioredis', () => {
  throw new Error("Cannot find package 'ioredis'")
})

test('without ioredis the first command says what to install, and constructing it does not', async () => {
  const connection = new RedisConnection({ url: 'redis://localhost' }, { logger: silentLogger })
  connection.connect()
  await expect(connection.ping()).rejects.toMatchObject({
    code: 'DRIVER_MISSING',
    message: expect.stringContaining('npm install ioredis@6'),
  })
  await connection.close()
})

test('the version to install is one that this package takes', () => {
  expect(manifest.peerDependencies.ioredis).toMatch(/\^6\./)
})

test('a choice of Redis tells it before anything is open', async () => {
  await expect(redisCache({ url: 'redis://localhost' }).prepare?.()).rejects.toMatchObject({ code: 'DRIVER_MISSING' })
})

test.each([
  ['redisPubSub', redisPubSub],
  ['redisStreams', redisStreams],
])('a relay with %s tells it before it touches an event', async (_, publisherOf) => {
  const Ticked = defineEvent({ type: 'Ticked', aggregate: 'Clock', payload: v.number() })
  const data = await createDataAccess({ modules: [{ name: 'clock', entities: [], events: [Ticked] }] })
  await data.migrate()
  await data.unitOfWork(async ({ record }) => void record(Ticked, 'a', 1))
  const relay = data.outbox.relay({ publisher: publisherOf({ url: 'redis://localhost' }) })
  await expect(relay.start()).rejects.toMatchObject({ code: 'DRIVER_MISSING' })
  await expect(relay.drain()).rejects.toMatchObject({ code: 'DRIVER_MISSING' })
  expect(await data.outbox.stats()).toMatchObject({ backlog: 1 })
  expect(await data.outbox.relay({ publisher: ({ attempt }) => expect(attempt).toBe(1) }).drain()).toMatchObject({ published: 1 })
  await data.close()
})
