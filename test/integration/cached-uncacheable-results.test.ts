import { afterEach, describe, expect, test } from 'vitest'
import type { CacheStore } from '../../src/cache/cache-store.ts'
import { cachedQuery, dep } from '../../src/cache/cached-query.ts'
import { type Clock, monotonicClock } from '../../src/kernel/clock.ts'
import { Author, authorPolicy } from '../support/cache-entities.ts'
import { type CacheGround, cacheCombinations, openCacheGround } from '../support/cache-ground.ts'

describe.each(cacheCombinations)('results that cannot be kept, on $dialect with the $store store', ({ dialect, store }) => {
  let ground: CacheGround | undefined
  afterEach(() => ground?.close())
  let passedMs = 0
  const clock: Clock = { ...monotonicClock, now: () => monotonicClock.now() + passedMs }
  let asked: string[] = []
  /** Writes down for what it is asked. */
  const around = (inner: CacheStore): CacheStore => ({
    name: inner.name,
    read: (requests) => {
      asked.push(...requests.map(({ key }) => key))
      return inner.read(requests)
    },
    acquire: (requests, leaseMs) => inner.acquire(requests, leaseMs),
    renew: (leases, leaseMs) => inner.renew(leases, leaseMs),
    fill: (fills) => inner.fill(fills),
    invalidate: (keys) => inner.invalidate(keys),
    ping: () => inner.ping(),
    close: () => inner.close(),
  })
  let runs = 0
  const sizes = cachedQuery({
    name: 'sizes',
    dependsOn: () => [dep(Author)],
    run: async (_em, { plain }: { plain: boolean }) => {
      runs += 1
      return plain ? { size: runs } : new Map([['size', runs]])
    },
  })
  const open = async () => {
    ;[passedMs, runs, asked] = [0, 0, []]
    ground = await openCacheGround(dialect, store, { caches: [authorPolicy, sizes], around, clock })
    return ground
  }

  test('are run past the cache for some seconds, and then the cache is asked once more', async () => {
    const { cache } = await open()
    const reads = cache.cached(sizes)
    for (let run = 1; run <= 3; run++) expect(await reads.get({ plain: false })).toEqual(new Map([['size', run]]))
    expect(asked).toHaveLength(1)
    expect(reads.stats()).toMatchObject({ requests: 1, misses: 1, bypasses: 3 })
    passedMs = 60_000
    expect(await reads.get({ plain: false })).toEqual(new Map([['size', 4]]))
    expect(asked).toHaveLength(2)
  })

  test('leave those for other parameters in the cache', async () => {
    const { cache } = await open()
    const reads = cache.cached(sizes)
    await reads.get({ plain: false })
    for (let turn = 1; turn <= 2; turn++) expect(await reads.get({ plain: true })).toEqual({ size: 2 })
    expect(reads.stats()).toMatchObject({ hits: 1, bypasses: 1 })
  })

  test('belong to the entity manager for which they are read', async () => {
    const authors = cachedQuery({
      name: 'authorsByName',
      dependsOn: () => [dep(Author)],
      run: async (own) => new Map((await own.findAll(Author)).map((each) => [each.name, each])),
    })
    ground = await openCacheGround(dialect, store, { caches: [authorPolicy, authors] })
    const { id } = await ground.author({ name: 'Alex' })
    const own = ground.fork()
    for (let turn = 1; turn <= 2; turn++) {
      const found = await ground.cache.cached(authors, { em: own }).get({})
      expect(found.get('Alex')).toBe(own.getUnitOfWork().getById(Author, id as never))
    }
  })
})
