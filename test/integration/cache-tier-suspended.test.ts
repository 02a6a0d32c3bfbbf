import { expect, inject, test } from 'vitest'
import { InvalidationBus } from '../../src/cache/redis/invalidation-bus.ts'
import { NearEntries } from '../../src/cache/redis/near-entries.ts'
import { RedisStore } from '../../src/cache/redis/redis-store.ts'
import { TieredStore } from '../../src/cache/redis/tiered-store.ts'
import { monotonicClock } from '../../src/kernel/clock.ts'
import { silentLogger } from '../../src/kernel/logger.ts'
import { RedisConnection } from '../../src/redis/redis-connection.ts'
import { filled, hit, look, request } from '../../src/testing/cache-store-steps.ts'
import { openTestRedis } from '../support/redis.ts'

const inTime = { timeout: 20_000, interval: 5 }

test('copies do not outlive a time for which the machine was suspended, though the monotonic clock stood still', async () => {
  let suspendedMs = 0
  const clock = { ...monotonicClock, wall: () => Date.now() + suspendedMs }
  const { prefix, close } = await openTestRedis()
  const options = { url: inject('redisUrl'), timeoutMs: 5000 }
  const redis = new RedisConnection(options, { logger: silentLogger })
  const near = new NearEntries({ maxEntries: 100, maxBytes: 1_000_000 })
  const far = new RedisStore({ redis, prefix, self: 'here' })
  const bus = new InvalidationBus({
    ...{ options, redis, prefix, self: 'here', clock, logger: silentLogger },
    ...{ onExpired: (keys) => near.expire(keys), onGap: () => near.clear() },
  })
  const store = new TieredStore({ far, near, bus, ttlMs: 60_000, clock })
  await expect.poll(() => bus.sound(), inTime).toBe(true)
  const entry = request(1)
  await filled(store, entry, 'old')
  expect(await look(store, entry)).toEqual(hit('old'))
  expect(store.readNow(entry)).toBe('old')

  // What another process expired meanwhile has not been heard.
  suspendedMs = 10_000
  expect(store.readNow(entry)).toBeUndefined()
  await expect.poll(() => bus.sound(), inTime).toBe(true)
  expect(store.readNow(entry)).toBeUndefined()
  expect(await look(store, entry)).toEqual(hit('old'))
  expect(store.readNow(entry)).toBe('old')
  await store.close()
  await close()
})
