import { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { redisStreams } from '../../../src/publishers/redis-streams/redis-streams.ts'
import { readStreamEntry } from '../../../src/publishers/redis-streams/stream-entry.ts'
import { dialects } from '../../support/databases.ts'
import { killedRelayGround } from '../../support/killed-relay.ts'
import { openTestRedis, type TestRedis } from '../../support/redis.ts'
import { batchSteps } from '../../support/relay-failpoints.ts'
import { findInversion } from '../../support/relay-process.ts'

describe.each(dialects)('a relay to Redis Streams on %s that is killed', (dialect) => {
  const ground = killedRelayGround(dialect)
  let server: TestRedis
  let redis: Redis

  beforeEach(async () => {
    server = await openTestRedis()
    redis = new Redis(server.url)
  })
  afterEach(async () => {
    await redis.quit()
    await server.close()
  })

  test('after it published, before the mark: the next one publishes again, and the stream holds each event once', async () => {
    const redisStream = { url: server.url, stream: `${server.prefix}{events}` }
    await ground.killOne({ ...batchSteps['after it published, before the mark'], redisStream })
    const before = await redis.xlen(redisStream.stream)
    expect(before).toBeGreaterThan(0)
    const publisher = redisStreams(redisStream)
    const published = await ground.bench.outbox.relay({ publisher }).drain()
    await publisher.close?.()
    // Among them all that the stream held already.
    expect(published).toMatchObject({ published: ground.ids.length })
    const entries = (await redis.xrange(redisStream.stream, '-', '+')).map(([, fields]) => readStreamEntry(fields))
    expect(entries.map(({ id }) => id).toSorted()).toEqual(ground.ids.toSorted())
    expect(findInversion(entries.map(({ id, aggregateId: key, payload }) => ({ id, key, payload })))).toBeUndefined()
  })
})
