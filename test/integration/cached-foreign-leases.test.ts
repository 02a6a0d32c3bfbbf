import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { describe, expect, inject, test } from 'vitest'
import type { CacheStore } from '../../src/cache/cache-store.ts'
import { leaseWaitMs } from '../../src/cache/lease.ts'
import { Author, Book, booksOf } from '../support/cache-entities.ts'
import { type CacheGround, cacheCombinations, openCacheGround } from '../support/cache-ground.ts'
import { dialects } from '../support/databases.ts'
import { closesOpened } from '../support/opened.ts'
import { parkNextLoad } from '../support/parked-load.ts'
import { cachedName, rename } from '../support/served-authors.ts'
import { openProxyTo } from '../support/tcp-proxy.ts'

// Set REPEATS=100 to hunt for what happens rarely.
const repeats = Number(process.env.REPEATS ?? 0)
const many = 200
const track = closesOpened()

/** Commits many authors and gives their ids. */
async function addAuthors(ground: CacheGround): Promise<string[]> {
  const em = ground.fork()
  const authors = Array.from({ length: many }, (_, n) => em.create(Author, { email: `${n}@example.dev`, name: `${n}` } as never))
  await em.flush()
  return authors.map(({ id }) => id)
}

describe.each(cacheCombinations)(
  'what another process is loading, on $dialect with $store,',
  { repeats },
  ({ dialect, store }) => {
    test('is one query for all that a getMany asks for', async () => {
      const ground = track(await openCacheGround(dialect, store))
      const other = await ground.openOther()
      const ids = await addAuthors(ground)
      const load = parkNextLoad(other.orm)
      const slow = other.cache.cached(Author).getMany(ids)
      await load.parked
      for (let turn = 1; turn <= 3; turn++) {
        ground.takeQueries()
        expect((await ground.cache.cached(Author).getMany(ids)).map((author) => author?.id)).toEqual(ids)
        expect(ground.takeQueries()).toHaveLength(1)
      }
      load.resume()
      expect(await slow).toHaveLength(many)
    })

    test('is one query for all rows of a cached list', async () => {
      const ground = track(await openCacheGround(dialect, store))
      const other = await ground.openOther()
      const author = await ground.author()
      const em = ground.fork()
      const books = Array.from({ length: many }, (_, edition) => em.create(Book, { author: author.id, title: 'A', edition }))
      await em.flush()
      const load = parkNextLoad(other.orm)
      const slow = other.cache.cached(Book).getMany(books.map(({ id }) => id))
      await load.parked
      ground.takeQueries()
      expect(await ground.cache.cached(booksOf).get({ authorId: author.id })).toHaveLength(many)
      expect(ground.takeQueries()).toHaveLength(2) // the list's, and that of its rows
      load.resume()
      await slow
    })

    test('is loaded once for a hundred misses in each', async () => {
      const ground = track(await openCacheGround(dialect, store))
      const processes = [ground, await ground.openOther()]
      const loads = () => processes.reduce((sum, { cache }) => sum + cache.cached(Author).stats().loads, 0)
      const reads = async () => {
        const { id } = await ground.author()
        const [before, begun] = [loads(), performance.now()]
        await Promise.all(processes.flatMap(({ cache }) => Array.from({ length: 100 }, () => cache.cached(Author).get(id))))
        return { loaded: loads() - before, ms: performance.now() - begun }
      }
      // A busy machine may take longer than they wait for each other.
      const inTime = async (): Promise<number> => {
        const { loaded, ms } = await reads()
        return ms < leaseWaitMs ? loaded : inTime()
      }
      expect(await inTime()).toBe(1)
    })

    test('is not loaded here at the same time, also when the load fails, while it is shorter than the wait for it', async () => {
      const ground = track(await openCacheGround(dialect, store))
      const processes = [ground, await ground.openOther()]
      let [running, most] = [0, 0]
      for (const { orm } of processes) {
        orm.em.getDriver().find = async () => {
          most = Math.max(most, ++running)
          await delay(20)
          running -= 1
          throw new Error('the database failed')
        }
      }
      const failures = async () => {
        const [id, begun] = [crypto.randomUUID(), performance.now()]
        most = 0
        // Who comes back at once meets the lease that is being given back.
        const readTwice = async ({ cache }: CacheGround) => {
          for (let turn = 1; turn <= 2; turn++) await expect(cache.cached(Author).get(id)).rejects.toThrow('the database failed')
        }
        await Promise.all(processes.flatMap((each) => Array.from({ length: 20 }, () => readTwice(each))))
        return performance.now() - begun
      }
      // A busy machine may take longer than they wait for each other.
      while ((await failures()) >= leaseWaitMs);
      expect(most).toBe(1)
    })
  },
)

test.each(dialects)(
  'who waits too long on %s for what another process loads reads for himself, and keeps nothing',
  async (dialect) => {
    const ground = track(await openCacheGround(dialect, 'redis'))
    const other = await ground.openOther()
    const client = new Redis(inject('redisUrl'))
    track({ close: async () => client.disconnect() })
    const { id } = await ground.author({ name: 'old' })
    const kept = () => client.get(`${ground.prefix}Author:${id}`)
    const load = parkNextLoad(other.orm)
    const slow = cachedName(other, id)
    await load.parked
    const lease = await kept()
    expect(lease).toMatch(/^L/)
    expect(await Promise.all(Array.from({ length: 10 }, () => cachedName(ground, id)))).toEqual(Array(10).fill('old'))
    // What he would keep has been sent before: the answer to a command comes after those of all before it.
    await ground.cache.ping()
    expect(await kept()).toBe(lease)
    load.resume()
    await slow
    await rename(ground, id, 'new')
    expect(await cachedName(other, id)).toBe('new')
  },
)

describe.each(dialects)('leases on %s that Redis grants too late', (dialect) => {
  // Without an end of their own that a test could take for their being given back.
  const leaseMs = 600_000

  test('are given back, and the list is read by one query and kept', async () => {
    const proxy = track(await openProxyTo(inject('redisUrl')))
    let stalls = true
    const around = (inner: CacheStore): CacheStore => ({
      name: inner.name,
      read: (requests) => inner.read(requests),
      acquire: async (requests) => {
        if (!stalls) return inner.acquire(requests, leaseMs)
        stalls = false
        proxy.stall()
        return inner.acquire(requests, leaseMs).finally(() => proxy.resume())
      },
      renew: (leases, ms) => inner.renew(leases, ms),
      fill: (fills) => inner.fill(fills),
      invalidate: (keys) => inner.invalidate(keys),
      ping: () => inner.ping(),
      close: () => inner.close(),
    })
    const ground = track(await openCacheGround(dialect, 'redis', { redisUrl: proxy.url, timeoutMs: 500, around }))
    const ids = await addAuthors(ground)
    const client = new Redis(inject('redisUrl'))
    track({ close: async () => client.disconnect() })
    const authors = ground.cache.cached(Author)
    await expect.poll(() => ground.cache.ping().then(() => 'up'), { timeout: 20_000 }).toBe('up')

    ground.takeQueries()
    expect(await authors.getMany(ids)).toHaveLength(many)
    expect(ground.takeQueries()).toHaveLength(1)
    expect(authors.stats().errors).toBe(1)
    const keys = ids.map((id) => `${ground.prefix}Author:${id}`)
    await expect.poll(() => client.exists(keys), { timeout: 20_000 }).toBe(0)
    await expect
      .poll(
        async () => {
          const { hits } = authors.stats()
          await authors.getMany(ids)
          return authors.stats().hits - hits
        },
        { timeout: 20_000 },
      )
      .toBe(many)
  })
})
