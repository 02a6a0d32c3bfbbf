import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { Author, authorPolicy, Book, booksOf, latestBook } from '../support/cache-entities.ts'
import { type CacheGround, cacheCombinations, openCacheGround } from '../support/cache-ground.ts'
import { parkNextLoad } from '../support/parked-load.ts'
import { repeats } from '../support/repeats.ts'

const patience = { timeout: 20_000, interval: 5 }

describe.each(cacheCombinations)('races of cached reads on $dialect with the $store store', { repeats }, ({ dialect, store }) => {
  let here: CacheGround
  /** Another process; with the in-process store there is none. */
  let there: CacheGround
  beforeAll(async () => {
    here = await openCacheGround(dialect, store)
    there = store === 'memory' ? here : await here.openOther()
    await there.cache.ping()
  })
  afterAll(() => here.close())

  const rename = async (id: string, name: string) => {
    const em = here.fork()
    ;(await em.findOneOrFail(Author, id)).name = name
    await em.flush()
  }

  // The writer is `here`; the reader who was slow is here too, or in the other process.
  describe.each(['the same process', 'another process'])('a loader in %s is parked across a committed write', (where) => {
    const reader = () => (where === 'the same process' ? here : there)

    test('by key: who comes later gets the new row at once, and the old one is not kept', async () => {
      const { id } = await here.author({ name: 'old' })
      const authors = reader().cache.cached(Author)
      const load = parkNextLoad(reader().orm)
      const slow = authors.get(id)
      await load.parked
      await rename(id, 'new')
      expect((await authors.get(id))?.name).toBe('new')
      load.resume()
      expect((await slow)?.name).toBe('old') // it began before the commit
      expect((await authors.get(id))?.name).toBe('new')
      expect((await here.cache.cached(Author).get(id))?.name).toBe('new')
    })

    test('by key, with two commits during one load', async () => {
      const { id } = await here.author({ name: 'old' })
      const load = parkNextLoad(reader().orm)
      const slow = reader().cache.cached(Author).get(id)
      await load.parked
      await rename(id, 'newer')
      await rename(id, 'newest')
      load.resume()
      await slow
      expect((await reader().cache.cached(Author).get(id))?.name).toBe('newest')
    })

    test('of many: each row by itself', async () => {
      const [changed, kept] = [await here.author({ name: 'old' }), await here.author({ name: 'kept' })]
      const authors = reader().cache.cached(Author)
      const refused = authors.stats().refusedFills
      const load = parkNextLoad(reader().orm)
      const slow = authors.getMany([changed.id, kept.id])
      await load.parked
      await rename(changed.id, 'new')
      load.resume()
      expect((await slow).map((author) => author?.name)).toEqual(['old', 'kept'])
      await expect.poll(() => authors.stats().refusedFills, patience).toBe(refused + 1)
      expect((await authors.getMany([changed.id, kept.id])).map((author) => author?.name)).toEqual(['new', 'kept'])
    })

    test('of nothing: an insert during the load ends the knowledge that there is no row', async () => {
      const id = crypto.randomUUID()
      const authors = reader().cache.cached(Author)
      const load = parkNextLoad(reader().orm)
      const slow = authors.get(id)
      await load.parked
      await here.author({ id })
      load.resume()
      expect(await slow).toBeNull()
      expect(await authors.get(id)).toMatchObject({ id })
    })

    test('by a unique value that moves to nobody', async () => {
      const email = `${crypto.randomUUID()}@race.dev`
      const { id } = await here.author({ email })
      const authors = reader().cache.cached(authorPolicy)
      const load = parkNextLoad(reader().orm)
      const slow = authors.byEmail(email)
      await load.parked
      const em = here.fork()
      ;(await em.findOneOrFail(Author, id)).email = `${crypto.randomUUID()}@moved.dev`
      await em.flush()
      load.resume()
      expect((await slow)?.id).toBe(id)
      expect(await authors.byEmail(email)).toBeNull()
    })

    test('by a dependency: an insert during the load of a query', async () => {
      const author = await here.author()
      await here.book(author, 1)
      const query = reader().cache.cached(latestBook)
      const load = parkNextLoad(reader().orm)
      const slow = query.get({ authorId: author.id })
      await load.parked
      await here.book(author, 2)
      expect((await query.get({ authorId: author.id }))?.edition).toBe(2)
      load.resume()
      await slow
      expect((await query.get({ authorId: author.id }))?.edition).toBe(2)
    })

    test('by a dependency: a row that moves away during the load', async () => {
      const [one, two] = [await here.author(), await here.author()]
      const book = await here.book(one, 1)
      const query = reader().cache.cached(booksOf)
      const load = parkNextLoad(reader().orm)
      const slow = query.get({ authorId: one.id })
      await load.parked
      const em = here.fork()
      ;(await em.findOneOrFail(Book, book.id)).author = em.getReference(Author, two.id, { wrapped: true })
      await em.flush()
      load.resume()
      await slow
      expect(await query.get({ authorId: one.id })).toEqual([])
      expect(await query.get({ authorId: two.id })).toHaveLength(1)
    })
  })

  test('a row that is deleted between the look at a query and the look at its rows gives way to the one that is true then', async () => {
    const author = await here.author()
    await here.book(author, 1)
    const newest = await here.book(author, 2)
    const query = here.cache.cached(latestBook)
    await query.get({ authorId: author.id })
    await here.store.invalidate([`Book:${newest.id}`])
    const driver = here.orm.em.getDriver()
    const { find } = driver
    driver.find = (async (...args: Parameters<typeof find>) => {
      driver.find = find
      await there.fork().nativeDelete(Book, { id: newest.id })
      return find.apply(driver, args)
    }) as typeof find
    // Never was there no book at all.
    expect((await query.get({ authorId: author.id }))?.edition).toBe(1)
  })

  test('who comes while a load is current shares it', async () => {
    const { id } = await here.author()
    const authors = here.cache.cached(Author)
    const { loads } = authors.stats()
    const load = parkNextLoad(here.orm)
    const first = authors.get(id)
    await load.parked
    const others = Array.from({ length: 20 }, () => authors.get(id))
    // Their look at the store is a round trip; then they wait for the load.
    await here.cache.ping()
    await here.cache.ping()
    load.resume()
    expect((await Promise.all([first, ...others])).every((author) => author?.id === id)).toBe(true)
    expect(authors.stats().loads).toBe(loads + 1)
  })

  if (store === 'redis') {
    test('a lease that ends during its load: who comes next fills, and what was loaded under it is refused', async () => {
      const { id } = await here.author({ name: 'old' })
      const load = parkNextLoad(there.orm)
      const slow = there.cache.cached(Author).get(id)
      await load.parked
      const client = new Redis(inject('redisUrl'))
      // Redis ends it, sooner than after its seconds.
      await client.pexpire(`${here.prefix}Author:${id}`, 1)
      await expect.poll(() => client.exists(`${here.prefix}Author:${id}`)).toBe(0)
      client.disconnect()
      await rename(id, 'new')
      const authors = here.cache.cached(Author)
      expect((await authors.get(id))?.name).toBe('new')
      const { hits } = authors.stats()
      const { refusedFills } = there.cache.cached(Author).stats()
      load.resume()
      expect((await slow)?.name).toBe('old') // it began before the commit
      await expect.poll(() => there.cache.cached(Author).stats().refusedFills, patience).toBe(refusedFills + 1)
      expect((await authors.get(id))?.name).toBe('new')
      expect(authors.stats().hits).toBe(hits + 1)
    })

    test('everything flushed during a load refuses its fill, and the value is still returned', async () => {
      const { id } = await here.author({ name: 'here' })
      const authors = here.cache.cached(Author)
      const { refusedFills } = authors.stats()
      const load = parkNextLoad(here.orm)
      const slow = authors.get(id)
      await load.parked
      const client = new Redis(inject('redisUrl'))
      for await (const keys of client.scanStream({ match: `${here.prefix}*`, count: 1000 }))
        if (keys.length > 0) await client.unlink(keys)
      client.disconnect()
      load.resume()
      expect((await slow)?.name).toBe('here')
      await expect.poll(() => authors.stats().refusedFills, patience).toBe(refusedFills + 1)
      await rename(id, 'after')
      expect((await authors.get(id))?.name).toBe('after')
    })
  }

  test('under readers and writers at random no read gives less than what was committed before it began', async () => {
    const keys = await Promise.all(Array.from({ length: 4 }, () => here.author({ name: '0' })))
    const committed = new Map(keys.map(({ id }) => [id, 0]))
    const booksCommitted = new Map(keys.map(({ id }) => [id, 0]))
    const stale: string[] = []
    let writing = 4
    const write = async (author: Author) => {
      for (let version = 1; version <= 25; version++) {
        await rename(author.id, String(version))
        committed.set(author.id, version)
        if (version % 5 === 0) {
          await here.book(author, version)
          booksCommitted.set(author.id, version)
        }
      }
      writing -= 1
    }
    const read = async (ground: CacheGround) => {
      while (writing > 0) {
        const { id, email } = keys[Math.floor(Math.random() * keys.length)] as Author
        const floor = committed.get(id) as number
        const bookFloor = booksCommitted.get(id) as number
        const author =
          Math.random() < 0.5 ? await ground.cache.cached(Author).get(id) : await ground.cache.cached(authorPolicy).byEmail(email)
        if (Number(author?.name) < floor) stale.push(`${author?.name} after ${floor}`)
        const latest = await ground.cache.cached(latestBook).get({ authorId: id })
        if ((latest?.edition ?? 0) < bookFloor) stale.push(`edition ${latest?.edition} after ${bookFloor}`)
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
    await Promise.all([...keys.map(write), ...[here, there, here, there].map(read)])
    expect(stale).toEqual([])
  })
})
