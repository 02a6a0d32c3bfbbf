import { afterEach, expect, test } from 'vitest'
import { cachePolicy } from '../../src/cache/policy.ts'
import { Author, Book, bookPolicy, latestBook } from '../support/cache-entities.ts'
import { type CacheGround, openCacheGround } from '../support/cache-ground.ts'

const patience = { timeout: 20_000, interval: 5 }
let ground: CacheGround
afterEach(() => ground.close())

test.each([
  { kind: 'plain', lifetime: {} },
  { kind: 'served past their ttl', lifetime: { ttl: 20, negativeTtl: 20, serveStale: 60_000 } },
  { kind: 'probed', lifetime: { probe: 1 } },
])('hits on copies that are $kind are told as at hand, however they were asked for', async ({ kind, lifetime }) => {
  const policy = cachePolicy(Author, { jitter: 0, uniques: ['email'], ...lifetime })
  ground = await openCacheGround('sqlite', 'redis', { tier: { ttl: 60_000 }, caches: [policy, bookPolicy, latestBook] })
  const authors = ground.cache.cached(policy)
  const told = { hits: 0, misses: 0, atHand: 0, negative: 0, stale: 0 }
  authors.on('read', (event) => {
    for (const name of Object.keys(told) as (keyof typeof told)[]) told[name] += event[name]
  })
  const { id, email } = await ground.author()
  const nobody = crypto.randomUUID()
  const ways = {
    id: () => authors.get(id),
    'id of no row': () => authors.get(nobody),
    ids: () => authors.getMany([id, nobody]),
    'a unique value': () => authors.byEmail(email),
    'an entity manager': () => ground.cache.cached(policy, { em: ground.fork() }).get(id),
  }
  for (const [way, read] of Object.entries(ways)) {
    // A copy is kept once the bus is heard.
    const allAtHand = async () => {
      const before = authors.stats()
      await read()
      const { hits, misses, atHand } = authors.stats()
      return misses === before.misses && hits > before.hits && atHand - before.atHand === hits - before.hits
    }
    await expect.poll(allAtHand, { ...patience, message: way }).toBe(true)
  }
  expect(authors.stats().stale > 0).toBe(kind === 'served past their ttl')
  await expect.poll(() => authors.stats().probed > 0, patience).toBe(kind === 'probed')
  const { hits, misses, atHand, negative, stale } = authors.stats()
  expect(told).toEqual({ hits, misses, atHand, negative, stale })
})

test('hits on copies of a query and of its rows are told as at hand, and those on Redis are not', async () => {
  ground = await openCacheGround('sqlite', 'redis', { tier: { ttl: 60_000 } })
  const author = await ground.author()
  await ground.book(author, 1)
  const query = ground.cache.cached(latestBook)
  const read = async () => {
    await query.get({ authorId: author.id })
    return [query, ground.cache.cached(Book)].map((cache) => cache.stats().atHand > 0)
  }
  await expect.poll(read, patience).toEqual([true, true])

  const other = await ground.openOther()
  const another = other.cache.cached(latestBook)
  await another.get({ authorId: author.id })
  expect(another.stats()).toMatchObject({ hits: 1, atHand: 0 })
  expect(other.cache.cached(Book).stats()).toMatchObject({ hits: 1, atHand: 0 })
})
