import { afterAll, beforeAll, describe, test } from 'vitest'
import type { CacheStore } from '../../src/cache/cache-store.ts'
import { MemoryStore } from '../../src/cache/memory/memory-store.ts'
import { redisCache } from '../../src/cache/redis/redis-cache.ts'
import { cacheStoreContract } from '../../src/testing/cache-store-contract.ts'
import { openTestRedis, type TestRedis } from '../support/redis.ts'

describe('the memory store', () => {
  test.each(cacheStoreContract())('$name', async ({ run }) => {
    let now = 0
    const store = new MemoryStore({ maxEntries: 1000, clock: { now: () => now, wait: async () => undefined } })
    await run({
      open: async () => store,
      pass: async (ms) => {
        now += ms
      },
    })
  })
})

describe('the Redis store', () => {
  let redis: TestRedis
  beforeAll(async () => {
    redis = await openTestRedis()
  })
  afterAll(() => redis.close())

  test.each(cacheStoreContract())('$name', async ({ run }) => {
    const stores: CacheStore[] = []
    try {
      await run({
        open: async () => {
          const store = redisCache({ url: redis.url, prefix: redis.prefix, timeoutMs: 5000 }).open({})
          stores.push(store)
          return store
        },
        pass: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
      })
    } finally {
      for (const store of stores) await store.close()
    }
  })
})
