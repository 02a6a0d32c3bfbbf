import { describe, expect, test } from 'vitest'
import { memoryCache } from '../../../src/cache/cache-choice.ts'
import { cachedQuery, type Dependency, dep, dependenciesOf } from '../../../src/cache/cached-query.ts'
import { averageAccessTime, nines } from '../../../src/cache/figures.ts'
import { queryKey, rowKey, shapeStamp } from '../../../src/cache/key.ts'
import { cachePolicy, completeLifetime, jitteredTtl } from '../../../src/cache/policy.ts'
import { redisCache } from '../../../src/cache/redis/redis-cache.ts'

class Book {
  declare author: string
  declare title: string
}
interface Params {
  readonly author: string
  readonly all?: boolean
  readonly authors?: readonly string[]
}
const query = (dependsOn: (params: Params) => readonly Dependency[]) =>
  cachedQuery({ name: 'books', dependsOn, run: async () => 1 })
const invalid = expect.objectContaining({ code: 'OPTION_INVALID' })

describe('a cached query', () => {
  test('knows what it depends on before it ever runs', () => {
    expect(query((p) => [dep(Book, { title: 'x', author: p.author })]).shapes).toEqual([
      { entity: Book, properties: ['author', 'title'] },
    ])
  })

  test('is refused when what it depends on cannot be known', () => {
    expect(() => query(() => [])).toThrow(invalid)
    expect(() => query((p) => (p.authors ?? []).map((author) => dep(Book, { author })))).toThrow(invalid)
  })

  test('refuses parameters for which it names other properties than it is known for', () => {
    const changing = query((p) => (p.all === undefined ? [dep(Book)] : [dep(Book, { author: p.author })]))
    expect(() => dependenciesOf(changing, { author: 'a' })).toThrow(invalid)
  })
})

describe('a policy', () => {
  test('has a ttl of a minute, and knows of a missing row for a tenth of the ttl', () => {
    expect(cachePolicy(Book).lifetime).toEqual({ ttl: 60_000, negativeTtl: 6_000, jitter: 0.1, serveStale: 0, probe: 0 })
  })

  test.each([{ ttl: 0 }, { ttl: Number.NaN }, { ttl: 8 * 86_400_000 }, { negativeTtl: -1 }, { jitter: 1.1 }])(
    'refuses %j',
    (options) => {
      expect(() => cachePolicy(Book, options)).toThrow(invalid)
    },
  )

  test('lets entries end at random within its jitter, and never at once', () => {
    const ttls = Array.from({ length: 100 }, () =>
      jitteredTtl(completeLifetime({ ttl: 1000, negativeTtl: 1, jitter: 0.5 }), false),
    )
    expect(Math.min(...ttls)).toBeGreaterThanOrEqual(500)
    expect(Math.max(...ttls)).toBeLessThanOrEqual(1000)
    expect(new Set(ttls).size).toBeGreaterThan(10)
    expect(jitteredTtl(completeLifetime({ ttl: 1000, negativeTtl: 1, jitter: 1 }), true)).toBe(1)
  })
})

test('keys keep apart what differs, and join what the database sees as one', () => {
  expect(rowKey('User', 1n)).toBe(rowKey('User', '1'))
  expect(shapeStamp('User', { a: null })).not.toBe(shapeStamp('User', { a: 'null' }))
  expect(shapeStamp('User', { a: '1&b=2' })).not.toBe(shapeStamp('User', { a: '1', b: '2' }))
  expect(shapeStamp('User', { b: 2, a: 1 })).toBe(shapeStamp('User', { a: 1, b: 2 }))
  expect(queryKey('q', 'x'.repeat(1000)).length).toBeLessThan(60)
})

test('T_avg is H × T_cache + (1 − H) × (T_cache + T_database)', () => {
  expect(averageAccessTime(0.75, 2, 8)).toBe(4)
})

test('nines count what is certain', () => {
  expect(nines(0, 0)).toBe(0)
  expect(nines(3000, 0)).toBeCloseTo(3)
  expect(nines(1000, 10)).toBeCloseTo(2)
  expect(nines(2, 2)).toBe(0)
})

test('a choice is refused at the call, not at the first read', () => {
  expect(() => memoryCache({ maxEntries: 1 })).toThrow(invalid)
  expect(() => redisCache({})).toThrow(invalid)
  expect(() => redisCache({ url: 'redis://x', prefix: '{a}' })).toThrow(invalid)
  expect(() => redisCache({ url: 'http://x' })).toThrow(expect.objectContaining({ code: 'REDIS_URL_INVALID' }))
})
