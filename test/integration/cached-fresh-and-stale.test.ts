import { afterEach, describe, expect, test } from 'vitest'
import { type CachedQuery, cachedQuery } from '../../src/cache/cached-query.ts'
import { cachePolicy } from '../../src/cache/policy.ts'
import { runSql } from '../../src/database/sql.ts'
import { Author, bookPolicy, latestBook } from '../support/cache-entities.ts'
import { type CacheGround, cacheCombinations, openCacheGround } from '../support/cache-ground.ts'
import { parkNextLoad } from '../support/parked-load.ts'

const patience = { timeout: 20_000, interval: 5 }

describe.each(cacheCombinations)('cached reads on $dialect with the $store store', ({ dialect, store }) => {
  let ground: CacheGround
  afterEach(() => ground.close())

  const open = async (lifetime = {}, queries: readonly CachedQuery<never>[] = []) => {
    const author = cachePolicy(Author, { jitter: 0, uniques: ['email'], ...lifetime })
    ground = await openCacheGround(dialect, store, { caches: [author, bookPolicy, latestBook, ...queries], sweepMs: 1000 })
    return ground.cache.cached(author)
  }
  const rename = async (id: string, name: string) => {
    const em = ground.fork()
    ;(await em.findOneOrFail(Author, id)).name = name
    await em.flush()
  }
  const renameUnseen = (id: string, name: string) => runSql(ground.fork(), 'update authors set name = ? where id = ?', [name, id])

  test('a fresh read gives what the database has now, and leaves it to those who come later', async () => {
    const authors = await open()
    const { id, email } = await ground.author({ name: 'old' })
    const hits = async () => {
      const { hits: before } = authors.stats()
      await authors.byEmail(email)
      return authors.stats().hits - before
    }
    await expect.poll(hits, patience).toBe(2) // the lookup and the row
    await renameUnseen(id, 'new')
    expect((await authors.get(id))?.name).toBe('old')
    expect((await authors.byEmail(email, { fresh: true }))?.name).toBe('new')
    expect((await authors.getOrFail(id, { fresh: true })).name).toBe('new')
    const { loads } = authors.stats()
    expect((await authors.get(id))?.name).toBe('new')
    expect(authors.stats().loads).toBe(loads)
    expect((await authors.getMany([id, id], { fresh: true })).map((author) => author?.name)).toEqual(['new', 'new'])
    expect(authors.stats().loads).toBe(loads + 1)

    const query = ground.cache.cached(latestBook)
    const author = await ground.author()
    const book = await ground.book(author, 1)
    await query.get({ authorId: author.id })
    await runSql(ground.fork(), 'update books set edition = 2 where id = ?', [book.id])
    expect((await query.get({ authorId: author.id }, { fresh: true }))?.edition).toBe(2)
    expect((await query.get({ authorId: author.id }))?.edition).toBe(2)
  })

  test('a fresh read shares no load that began before it, and keeps nothing that a commit has overtaken', async () => {
    const authors = await open()
    const { id } = await ground.author({ name: 'old' })
    const load = parkNextLoad(ground.orm)
    const slow = authors.get(id)
    await load.parked
    await renameUnseen(id, 'new')
    expect((await authors.get(id, { fresh: true }))?.name).toBe('new')
    load.resume()
    expect((await slow)?.name).toBe('old')

    const freshLoad = parkNextLoad(ground.orm)
    const { refusedFills } = authors.stats()
    const fresh = authors.get(id, { fresh: true })
    await freshLoad.parked
    await rename(id, 'newer')
    freshLoad.resume()
    expect((await fresh)?.name).toBe('new')
    await expect.poll(() => authors.stats().refusedFills, patience).toBe(refusedFills + 1)
    expect((await authors.get(id))?.name).toBe('newer')
  })

  test('a signal ends the wait of its caller alone', async () => {
    const authors = await open()
    const { id } = await ground.author()
    const { loads } = authors.stats()
    const load = parkNextLoad(ground.orm)
    const patient = authors.get(id)
    const caller = new AbortController()
    const hasty = authors.get(id, { signal: caller.signal })
    await load.parked
    caller.abort(new Error('gone home'))
    await expect(hasty).rejects.toThrow('gone home')
    await expect(authors.get(id, { signal: caller.signal })).rejects.toThrow('gone home')
    load.resume()
    expect((await patient)?.id).toBe(id)
    expect(authors.stats().loads).toBe(loads + 1)
    await expect(authors.get(id, { fresh: 'yes' } as never)).rejects.toMatchObject({ code: 'OPTION_INVALID' })
    await expect(authors.get(id, { signall: caller.signal } as never)).rejects.toMatchObject({ code: 'OPTION_INVALID' })
  })

  test('past its ttl an entry is served while it is read anew, once', async () => {
    const authors = await open({ ttl: 50, serveStale: 60_000 })
    const { id } = await ground.author({ name: 'old' })
    await authors.get(id)
    await renameUnseen(id, 'new')
    await expect.poll(async () => (await authors.get(id))?.name, patience).toBe('new')
    expect(authors.stats()).toMatchObject({ misses: 1, stale: expect.toSatisfy((stale: number) => stale > 0) })

    const load = parkNextLoad(ground.orm)
    const { loads } = authors.stats()
    let parked = false
    void load.parked.then(() => {
      parked = true
    })
    await expect.poll(async () => (await authors.get(id)) !== null && parked, patience).toBe(true)
    const all = await Promise.all(Array.from({ length: 50 }, () => authors.get(id)))
    expect(all.every((author) => author?.name === 'new')).toBe(true) // nobody waited for the load
    expect(authors.stats().loads).toBe(loads) // it is counted when it ends
    load.resume()
    await expect.poll(() => authors.stats().loads, patience).toBe(loads + 1)
  })

  test('after an invalidation nothing stale is served, and what was being read anew is not kept', async () => {
    const authors = await open({ ttl: 20, serveStale: 60_000 })
    const { id } = await ground.author({ name: 'old' })
    await authors.get(id)
    await new Promise((resolve) => setTimeout(resolve, 30))
    const load = parkNextLoad(ground.orm)
    expect((await authors.get(id))?.name).toBe('old')
    await load.parked
    const { refusedFills } = authors.stats()
    await rename(id, 'new')
    expect((await authors.get(id))?.name).toBe('new')
    load.resume()
    await expect.poll(() => authors.stats().refusedFills, patience).toBe(refusedFills + 1)
    expect((await authors.get(id))?.name).toBe('new')
  })

  test('that there is nothing is known for the negativeTtl, and not for the ttl', async () => {
    const query = cachedQuery({ ...{ name: 'newest', dependsOn: latestBook.dependsOn, run: latestBook.run }, negativeTtl: 100 })
    const authors = await open({ negativeTtl: 100 }, [query])
    const [early, book] = [await ground.author(), await ground.book(await ground.author(), 1)]
    const [id, email] = [crypto.randomUUID(), `${crypto.randomUUID()}@example.dev`]
    const look = async () => {
      const [row, byEmail] = [await authors.get(id), await authors.byEmail(email)]
      return [row?.id, byEmail?.id, (await ground.cache.cached(query).get({ authorId: id }))?.id]
    }
    expect(await look()).toEqual([undefined, undefined, undefined])
    await runSql(ground.fork(), 'update authors set id = ?, email = ? where id = ?', [id, email, early.id])
    await runSql(ground.fork(), 'update books set author_id = ? where id = ?', [id, book.id])
    await expect.poll(look, patience).toEqual([id, id, book.id])
  })

  test('a failing revalidation is told, and the entry is served until its end', async () => {
    const authors = await open({ ttl: 20, serveStale: 60_000 })
    const { id } = await ground.author({ name: 'kept' })
    await authors.get(id)
    await new Promise((resolve) => setTimeout(resolve, 30))
    const failures: Error[] = []
    const stop = authors.on('revalidationFailed', ({ error }) => failures.push(error))
    const driver = ground.orm.em.getDriver()
    const find = driver.find
    driver.find = () => Promise.reject(new Error('the database is away'))
    const startedAt = performance.now()
    expect((await authors.get(id))?.name).toBe('kept')
    await expect.poll(() => failures.map(({ message }) => message), patience).toEqual(['the database is away'])
    for (let reader = 0; reader < 20; reader++) expect((await authors.get(id))?.name).toBe('kept')
    expect(failures.length).toBeLessThanOrEqual(1 + (performance.now() - startedAt) / 750)
    driver.find = find
    const { loads } = authors.stats()
    const loadsLater = async () => {
      expect((await authors.get(id))?.name).toBe('kept')
      return authors.stats().loads
    }
    await expect.poll(loadsLater, patience).toBeGreaterThan(loads)
    stop()
  })

  test('the figures are told as events, and a listener that throws disturbs nobody', async () => {
    const authors = await open()
    const told: unknown[] = []
    const stops = (['read', 'loaded', 'bypassed', 'fillRefused'] as const).map((name) =>
      authors.on(name, (event) => {
        told.push([name, 'ms' in event ? { entries: event.entries } : event])
        throw new Error('a listener of the application')
      }),
    )
    const id = crypto.randomUUID()
    await authors.get(id)
    await authors.get(id)
    await ground.fork().transactional(async (em) => void (await ground.cache.cached(Author, { em }).get(id)))
    expect(told).toEqual([
      ['read', { hits: 0, misses: 1, atHand: 0, negative: 0, stale: 0 }],
      ['loaded', { entries: 1 }],
      ['read', { hits: 1, misses: 0, atHand: store === 'memory' ? 1 : 0, negative: 1, stale: 0 }],
      ['bypassed', { entries: 1, reason: 'transaction' }],
    ])
    for (const stop of stops) stop()
    await authors.get(id)
    expect(told).toHaveLength(4)
  })

  test('the probe finds an entry that outlived a change, and takes no write in between for one', async () => {
    const authors = await open({ probe: 1 })
    const inconsistent: string[] = []
    authors.on('inconsistent', ({ key }) => inconsistent.push(key))
    const [honest, deceived] = [await ground.author({ name: 'old' }), await ground.author({ name: 'old' })]
    await authors.getMany([honest.id, deceived.id])

    const load = parkNextLoad(ground.orm)
    await authors.get(honest.id) // its probe waits for the database
    await load.parked
    await rename(honest.id, 'new')
    load.resume()
    await expect.poll(() => authors.stats().probed, patience).toBe(1)

    await authors.get(honest.id)
    const before = authors.stats().probed
    await renameUnseen(honest.id, 'by another program, told at once')
    await authors.get(honest.id)
    await authors.invalidate(honest.id)
    await expect.poll(() => authors.stats().probed, patience).toBe(before + 1)
    expect(authors.stats().inconsistent).toBe(0)

    await renameUnseen(deceived.id, 'by another program, and nobody told')
    expect((await authors.get(deceived.id))?.name).toBe('old')
    await expect.poll(() => inconsistent, patience).toEqual([`Author:${deceived.id}`])
    expect(authors.stats()).toMatchObject({ inconsistent: 1 })
  })
})
