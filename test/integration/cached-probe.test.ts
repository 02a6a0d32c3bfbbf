import { afterEach, describe, expect, test, vi } from 'vitest'
import { cachedQuery, dep } from '../../src/cache/cached-query.ts'
import { cachePolicy, type Lifetime } from '../../src/cache/policy.ts'
import { runSql } from '../../src/database/sql.ts'
import { ManualClock } from '../../src/testing/manual-clock.ts'
import { Author, Book, bookPolicy } from '../support/cache-entities.ts'
import { type CacheGround, cacheCombinations, openCacheGround } from '../support/cache-ground.ts'
import { isServed } from '../support/served-authors.ts'

const patience = { timeout: 20_000, interval: 5 }

describe.each(cacheCombinations)('the probe on $dialect with the $store store', ({ dialect, store }) => {
  let ground: CacheGround
  afterEach(async () => {
    vi.restoreAllMocks()
    await ground.close()
  })

  /** Its waits are over when the clock is moved. */
  const clock = new ManualClock()
  const open = async ({ probe }: Required<Pick<Lifetime, 'probe'>>) => {
    const lifetime = { ttl: 24 * 60 * 60_000, jitter: 0, probe }
    const author = cachePolicy(Author, lifetime)
    const editions = cachedQuery({
      name: 'editions',
      dependsOn: ({ authorId }: { authorId: string }) => [dep(Book, { author: authorId })],
      run: async (em, { authorId }) => {
        const books = await em.find(Book, { author: authorId }, { orderBy: { edition: 'asc' } })
        return { books, count: books.length }
      },
      ...lifetime,
    })
    ground = await openCacheGround(dialect, store, { caches: [author, bookPolicy, editions], clock })
    return { authors: ground.cache.cached(author), editions: ground.cache.cached(editions) }
  }

  test('compares the share of hits that it is told to', async () => {
    const { authors } = await open({ probe: 0.25 })
    const { id } = await ground.author()
    const random = vi.spyOn(Math, 'random').mockReturnValue(0.99)
    await isServed(ground, id)
    const { hits: before } = authors.stats()
    for (const [drawn, hits] of [[0.25, 3] as const, [0.24, 2] as const, [0.99, 3] as const]) {
      random.mockReturnValue(drawn)
      for (let hit = 0; hit < hits; hit++) await authors.get(id)
    }
    await ground.cache.close() // waits for the comparisons that have begun
    expect(authors.stats()).toMatchObject({ hits: before + 8, probed: 2, inconsistent: 0 })
  })

  test('finds what outlived a change in the results of queries too, and tells the nines of each cache', async () => {
    const { authors, editions } = await open({ probe: 0.5 })
    const [author, other] = [await ground.author(), await ground.author()]
    const book = await ground.book(author, 1)
    const params = { authorId: author.id }
    const count = async () => (await editions.get(params)).count
    const random = vi.spyOn(Math, 'random').mockReturnValue(0.9)
    await expect.poll(() => count().then(() => editions.stats().hits), patience).toBeGreaterThan(0)
    expect(editions.stats()).toMatchObject({ probed: 0, nines: 0 })
    random.mockReturnValue(0.1)
    for (let probed = 1; probed <= 6; probed++) {
      expect(await count()).toBe(1)
      await expect.poll(() => editions.stats().probed, patience).toBe(probed)
    }
    expect(editions.stats().nines).toBeCloseTo(Math.log10(6 / 3))

    const keys: string[] = []
    editions.on('inconsistent', ({ key }) => keys.push(key))
    await runSql(ground.fork(), 'update books set author_id = ? where id = ?', [other.id, book.id]) // and nobody is told
    expect(await count()).toBe(1)
    await expect.poll(() => clock.waiting, patience).toBe(1)
    await clock.advance(60 * 60_000)
    await expect.poll(() => keys, patience).toEqual([expect.stringMatching(/^\?editions:/)])
    expect(editions.stats()).toMatchObject({ probed: 7, inconsistent: 1 })
    expect(editions.stats().nines).toBeCloseTo(Math.log10(7 / 1))
    expect(authors.stats()).toMatchObject({ probed: 0, nines: 0 })
  })
})
