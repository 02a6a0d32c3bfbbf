import { afterEach, expect, test } from 'vitest'
import { cachePolicy } from '../../src/cache/policy.ts'
import { Author, Book, booksOf } from '../support/cache-entities.ts'
import { type CacheGround, openCacheGround } from '../support/cache-ground.ts'

let ground: CacheGround | undefined
afterEach(() => ground?.close())

test('what is not among the caches of a module is named, with what to add', async () => {
  ground = await openCacheGround('sqlite', 'memory', { caches: [cachePolicy(Author)] })
  const { cache } = ground
  expect(() => cache.cached(Book)).toThrow(
    'Book has no cache policy among the caches of any module; add cachePolicy(Book, { ttl: 60_000 }) to the caches of one (CACHE_POLICY_MISSING)',
  )
  expect(() => cache.cached(booksOf)).toThrow(
    'The cached query booksOf is not among the caches of any module; add booksOf to the caches of one (CACHE_POLICY_MISSING)',
  )
})

test('a unique property that the entity does not have is compared with those that it has', async () => {
  const uniques = ['emial'] as never
  await expect(openCacheGround('sqlite', 'memory', { caches: [cachePolicy(Author, { uniques })] })).rejects.toThrow(
    'The cache policy of Author lists emial, which is no unique property of it; did you mean `email`? (OPTION_INVALID)',
  )
})
