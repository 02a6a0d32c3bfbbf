import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { cachedQuery, dep } from '../../src/cache/cached-query.ts'
import { runSql } from '../../src/database/sql.ts'
import { Author, authorPolicy, Book } from '../support/cache-entities.ts'
import { type CacheGround, cacheCombinations, openCacheGround } from '../support/cache-ground.ts'
import { parkNextLoad } from '../support/parked-load.ts'

const titlesOf = cachedQuery({
  name: 'titlesOf',
  dependsOn: (v: { authorId: string }) => [dep(Book, { author: v.authorId })],
  run: async (em, v) => (await em.find(Book, { author: v.authorId })).map(({ title }) => title),
})

// A load that began before a fresh read must not put what is older in the place of what that read gave.
describe.each(cacheCombinations)('a fresh read on $dialect with the $store store', ({ dialect, store }) => {
  let ground: CacheGround
  beforeEach(async () => {
    ground = await openCacheGround(dialect, store, { caches: [authorPolicy, titlesOf] })
  })
  afterEach(() => ground.close())
  const renameUnseen = (id: string, name: string) => runSql(ground.fork(), 'update authors set name = ? where id = ?', [name, id])

  test('is what later reads get, though a load that began before it ends after it', async () => {
    const authors = ground.cache.cached(authorPolicy)
    const { id, email } = await ground.author({ name: 'old' })
    const load = parkNextLoad(ground.orm)
    const slow = authors.get(id)
    await load.parked
    await renameUnseen(id, 'new')
    expect((await authors.get(id, { fresh: true }))?.name).toBe('new')
    load.resume()
    expect((await slow)?.name).toBe('old')
    const { loads } = authors.stats()
    for (let turn = 1; turn <= 3; turn++) expect((await authors.get(id))?.name).toBe('new')
    expect(authors.stats().loads).toBe(loads)
    expect((await authors.byEmail(email))?.name).toBe('new')
  })

  test('of a query as well, and though another process loads', async () => {
    const other = store === 'memory' ? ground : await ground.openOther()
    const author = await ground.author()
    const params = { authorId: author.id }
    const { id } = await ground.book(author, 1)
    const load = parkNextLoad(other.orm)
    const slow = other.cache.cached(titlesOf).get(params)
    await load.parked
    await runSql(ground.fork(), 'delete from books where id = ?', [id])
    expect(await ground.cache.cached(titlesOf).get(params, { fresh: true })).toEqual([])
    load.resume()
    await slow
    const { loads } = other.cache.cached(titlesOf).stats()
    expect(await other.cache.cached(titlesOf).get(params)).toEqual([])
    expect(other.cache.cached(titlesOf).stats().loads).toBe(loads)
  })

  test('asked for by many while one loads is one more load, and none is kept that a commit overtakes', async () => {
    const authors = ground.cache.cached(Author)
    const { id } = await ground.author({ name: 'old' })
    const load = parkNextLoad(ground.orm)
    const slow = authors.get(id)
    await load.parked
    const { loads } = authors.stats()
    await renameUnseen(id, 'new')
    const fresh = Array.from({ length: 20 }, () => authors.get(id, { fresh: true }))
    expect((await Promise.all(fresh)).every((found) => found?.name === 'new')).toBe(true)
    load.resume()
    await slow
    await expect.poll(() => authors.stats().loads).toBe(loads + 2)

    const second = parkNextLoad(ground.orm)
    const overtaken = authors.get(id, { fresh: true })
    await second.parked
    const em = ground.fork()
    ;(await em.findOneOrFail(Author, id)).name = 'committed'
    await em.flush()
    second.resume()
    expect((await overtaken)?.name).toBe('new')
    expect((await authors.get(id))?.name).toBe('committed')
  })
})
