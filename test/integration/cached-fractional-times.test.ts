import { expect, test } from 'vitest'
import { cachePolicy } from '../../src/cache/policy.ts'
import { Author } from '../support/cache-entities.ts'
import { cacheCombinations, openCacheGround } from '../support/cache-ground.ts'

test.each(cacheCombinations)(
  'a ttl of part of a millisecond caches on $dialect with the $store store',
  async ({ dialect, store }) => {
    const policy = cachePolicy(Author, { ttl: 86_400_000 / 7, negativeTtl: 10_000 / 3, serveStale: 86_400_000 / 7 })
    const ground = await openCacheGround(dialect, store, { caches: [policy] })
    const { id } = await ground.author()
    const authors = ground.cache.cached(policy)
    for (const each of [id, crypto.randomUUID()]) {
      const before = authors.stats().hits
      await expect.poll(async () => [await authors.get(each), authors.stats().hits > before][1]).toBe(true)
    }
    expect(authors.stats().errors).toBe(0)
    await ground.close()
  },
)
