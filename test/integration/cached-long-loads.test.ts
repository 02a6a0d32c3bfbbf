import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, inject, onTestFinished, test } from 'vitest'
import { cachedQuery, dep } from '../../src/cache/cached-query.ts'
import { cachePolicy } from '../../src/cache/policy.ts'
import { Author, authorPolicy, Book, bookPolicy } from '../support/cache-entities.ts'
import { type CacheGround, cacheCombinations, openCacheGround } from '../support/cache-ground.ts'
import { parkNextLoad } from '../support/parked-load.ts'

/** Longer than a lease lasts after loads that were fast. */
const longMs = 2600
const briefly = cachedQuery({
  name: 'briefly',
  ttl: 500,
  dependsOn: (p: { authorId: string }) => [dep(Book, { author: p.authorId })],
  run: (em, p) => em.find(Book, { author: p.authorId }),
})

describe.each(cacheCombinations)(
  'a load that takes longer than its lease, on $dialect with the $store store,',
  ({ dialect, store }) => {
    let ground: CacheGround
    beforeEach(async () => {
      ground = await openCacheGround(dialect, store, { caches: [authorPolicy, bookPolicy, briefly] })
      // A fast load makes the leases short.
      await ground.cache.cached(Author).get(crypto.randomUUID())
      await ground.cache.cached(briefly).get({ authorId: crypto.randomUUID() })
    })
    afterEach(() => ground.close())

    test('is the only one: who comes later shares it, and what it read is kept', async () => {
      const { id } = await ground.author()
      const authors = ground.cache.cached(Author)
      const load = parkNextLoad(ground.orm)
      ground.takeQueries()
      const first = authors.getMany([id, crypto.randomUUID()])
      await load.parked
      await delay(longMs)
      const later = Array.from({ length: 20 }, () => authors.get(id))
      // Longer than they wait for a lease of another process.
      await delay(500)
      expect(ground.takeQueries()).toHaveLength(1)
      load.resume()
      expect((await first).map((author) => author?.id)).toEqual([id, undefined])
      expect((await Promise.all(later)).every((author) => author?.id === id)).toBe(true)
      expect((await authors.get(id))?.id).toBe(id)
      expect(ground.takeQueries()).toEqual([])
      expect(authors.stats()).toMatchObject({ refusedFills: 0 })
    })

    test('is the only one for an entry that is kept for less long, too', async () => {
      const { id: authorId } = await ground.author()
      const query = ground.cache.cached(briefly)
      const load = parkNextLoad(ground.orm)
      ground.takeQueries()
      const first = query.get({ authorId })
      await load.parked
      await delay(longMs)
      const later = Array.from({ length: 20 }, () => query.get({ authorId }))
      await delay(500)
      expect(ground.takeQueries()).toHaveLength(1)
      load.resume()
      expect(await first).toEqual([])
      expect(await Promise.all(later)).toEqual(Array(20).fill([]))
      const { hits } = query.stats()
      await query.get({ authorId })
      expect(query.stats().hits).toBe(hits + 1)
      expect(ground.takeQueries()).toEqual([])
    })

    test('fails once for all who wait when it fails', async () => {
      const { id } = await ground.author()
      const authors = ground.cache.cached(Author)
      const driver = ground.orm.em.getDriver()
      const { find } = driver
      const failing = Promise.withResolvers<never>()
      let loads = 0
      driver.find = () => {
        loads += 1
        return failing.promise
      }
      const first = authors.get(id).catch((error: Error) => error.message)
      await delay(longMs)
      const later = Array.from({ length: 20 }, () => authors.get(id).catch((error: Error) => error.message))
      await delay(500)
      expect(loads).toBe(1)
      failing.reject(new Error('the database hangs no more'))
      expect(await Promise.all([first, ...later])).toEqual(Array(21).fill('the database hangs no more'))
      driver.find = find
      expect((await authors.get(id))?.id).toBe(id)
    })

    test('is not shared by who comes after a commit, and is not kept', async () => {
      const { id } = await ground.author({ name: 'old' })
      const authors = ground.cache.cached(Author)
      const load = parkNextLoad(ground.orm)
      const slow = authors.get(id)
      await load.parked
      const em = ground.fork()
      ;(await em.findOneOrFail(Author, id)).name = 'new'
      await em.flush()
      // The lease that the commit has ended is renewed in vain meanwhile.
      await delay(longMs)
      expect((await authors.get(id))?.name).toBe('new')
      load.resume()
      expect((await slow)?.name).toBe('old')
      expect((await authors.get(id))?.name).toBe('new')
    })
  },
)

test('what took long to load is proved current for as long as its entry lasts', async () => {
  const ground = await openCacheGround('sqlite', 'redis', { caches: [cachePolicy(Author, { ttl: 60_000, jitter: 0 })] })
  const redis = new Redis(inject('redisUrl'))
  onTestFinished(async () => {
    redis.disconnect()
    await ground.close()
  })
  const { id } = await ground.author()
  const load = parkNextLoad(ground.orm)
  const reading = ground.cache.cached(Author).get(id)
  await load.parked
  await delay(1000)
  load.resume()
  await reading
  const [entry, stamp] = [`${ground.prefix}Author:${id}`, `${ground.prefix}Author#*`]
  await expect.poll(() => redis.get(entry)).toMatch(/^V/)
  const [entryMs, stampMs] = await Promise.all([redis.pttl(entry), redis.pttl(stamp)])
  expect(entryMs).toBeGreaterThan(50_000)
  expect(stampMs).toBeGreaterThanOrEqual(entryMs)
})
