import { type EntityManager, MikroORM, RequestContext } from '@mikro-orm/core'
import { SqliteDriver } from '@mikro-orm/sqlite'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { memoryCache } from '../../src/cache/cache-choice.ts'
import { runSql } from '../../src/database/sql.ts'
import { createDataAccess, dataAccess } from '../../src/index.ts'
import { Author, authorPolicy, Book, countBooks } from '../support/cache-entities.ts'
import { type CacheGround, cacheCombinations, openCacheGround } from '../support/cache-ground.ts'

// What a caller's entity manager narrows at run time (the tenant of a request, say) no cached read may widen.
describe.each(cacheCombinations)('cached reads and row views on $dialect with the $store store', ({ dialect, store }) => {
  let ground: CacheGround
  beforeAll(async () => {
    ground = await openCacheGround(dialect, store)
  })
  afterAll(() => ground.close())

  const onlyNamed = (em: EntityManager, name: string) => {
    em.addFilter({ name: 'tenant', cond: { name }, entity: Author })
    return em
  }
  const bypasses = () => ground.cache.cached(Author).stats().bypasses

  test('a filter that was added to the given entity manager hides what it hides', async () => {
    const { id, email } = await ground.author({ name: 'ours' })
    await ground.cache.cached(authorPolicy).get(id)
    await ground.cache.cached(authorPolicy).byEmail(email)
    const em = onlyNamed(ground.fork(), 'theirs')
    const cached = ground.cache.cached(authorPolicy, { em })
    expect(await cached.get(id)).toBeNull()
    expect(await cached.getMany([id])).toEqual([null])
    expect(await cached.byEmail(email)).toBeNull()
    const fork = em.fork()
    expect(await ground.cache.cached(Author, { em: fork }).get(id)).toBeNull()
    expect((await ground.cache.cached(Author, { em: onlyNamed(ground.fork(), 'ours') }).get(id))?.id).toBe(id)
    expect((await ground.cache.cached(Author).get(id))?.id).toBe(id)
  })

  test('so does one of the request around a detached read', async () => {
    const { id } = await ground.author({ name: 'ours' })
    await ground.cache.cached(Author).get(id)
    const others = await RequestContext.create(ground.orm.em, async () => {
      onlyNamed(ground.orm.em, 'theirs')
      return ground.cache.cached(Author).get(id)
    })
    expect(others).toBeNull()
    expect((await ground.cache.cached(Author).get(id))?.id).toBe(id)
  })

  test('a filter of another entity, or one that is off, costs no hit', async () => {
    const { id } = await ground.author()
    await ground.cache.cached(Author).get(id)
    const em = ground.fork()
    em.addFilter({ name: 'books', cond: { title: 'none' }, entity: Book })
    em.addFilter({ name: 'off', cond: { name: 'none' }, default: false })
    const before = bypasses()
    expect((await ground.cache.cached(Author, { em }).get(id))?.id).toBe(id)
    expect(bypasses()).toBe(before)
  })

  test('a cached query is run for who sees other rows of what it depends on, and not kept', async () => {
    const author = await ground.author()
    await ground.book(author, 1)
    const all = (await ground.cache.cached(countBooks).get({})).books
    expect(all).toBeGreaterThan(0)
    const em = ground.fork()
    em.addFilter({ name: 'books', cond: { title: 'none' }, entity: Book })
    expect((await ground.cache.cached(countBooks, { em }).get({})).books).toBe(0)
    expect((await ground.cache.cached(countBooks).get({})).books).toBe(all)
  })

  if (dialect === 'postgresql') {
    test('an entity manager of another schema reads there', async () => {
      const { id } = await ground.author({ name: 'public' })
      const schema = `s${id.replaceAll('-', '')}`
      await runSql(ground.fork(), `create schema ${schema}`)
      await runSql(ground.fork(), `create table ${schema}.authors (like authors including all)`)
      await runSql(ground.fork(), `insert into ${schema}.authors select * from authors where id = ?`, [id])
      await runSql(ground.fork(), `update ${schema}.authors set name = 'other'`)
      await ground.cache.cached(Author).get(id)
      const named = async (em: EntityManager) => (await ground.cache.cached(Author, { em }).get(id))?.name
      expect(await named(ground.orm.em.fork({ schema }))).toBe('other')
      const em = ground.fork()
      em.schema = schema
      expect(await named(em)).toBe('other')
      expect(await named(em.fork())).toBe('other')
      expect(await named(ground.fork())).toBe('public')
    })

    test('row level security hides from a session what it hides', async () => {
      const { id } = await ground.author({ name: 'secret' })
      await ground.cache.cached(Author).get(id)
      const run = (sql: string) => runSql(ground.fork(), sql)
      const role = `reader_${id.replaceAll('-', '')}`
      await run(`create role ${role}`)
      await run(`grant select on authors to ${role}`)
      await run('alter table authors enable row level security')
      await run(`create policy named on authors for select to ${role} using (name = current_setting('app.name', true))`)
      try {
        const as = (name: string) => {
          const em = ground.fork()
          em.setSessionContext({ variables: { 'app.name': name }, role })
          return ground.cache.cached(Author, { em })
        }
        expect(await as('nobody').get(id)).toBeNull()
        expect((await as('secret').get(id))?.id).toBe(id)
        expect((await ground.cache.cached(Author).get(id))?.id).toBe(id)
      } finally {
        await run('drop policy named on authors')
        await run('alter table authors disable row level security')
        await run(`drop owned by ${role}`)
        await run(`drop role ${role}`)
      }
    })
  }
})

describe('the views of an adopted ORM', () => {
  const open: (() => Promise<unknown>)[] = []
  afterEach(async () => {
    for (const close of open.splice(0)) await close()
  })

  test('a filter that was added to the whole ORM before it was adopted is known', async () => {
    const authors = { name: 'authors', caches: [authorPolicy] }
    const orm = await MikroORM.init({
      driver: SqliteDriver,
      dbName: ':memory:',
      entities: [Author, Book],
      extensions: [dataAccess({ modules: [authors] })],
    })
    orm.em.addFilter({ name: 'tenant', cond: (args) => ({ name: args.name }), entity: Author })
    await orm.schema.create()
    const data = await createDataAccess({ orm, cache: memoryCache() })
    open.push(
      () => data.close(),
      () => orm.close(true),
    )
    const em = data.fork()
    em.create(Author, { email: 'a@example.com', name: 'ours' })
    await em.flush()
    const [ours] = await em.find(Author, {}, { filters: false })
    const as = async (name: string) => {
      const fork = data.fork()
      fork.setFilterParams('tenant', { name })
      return data.cached(Author, { em: fork }).get(ours?.id as string)
    }
    expect((await as('ours'))?.name).toBe('ours')
    expect(await as('theirs')).toBeNull()
    const other = await MikroORM.init({ driver: SqliteDriver, dbName: ':memory:', entities: [Author, Book] })
    open.push(() => other.close(true))
    expect(() => data.cached(Author, { em: other.em.fork() })).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }))
    // Nobody told whose rows to show: as MikroORM itself refuses it.
    await expect(data.cached(Author).get(ours?.id as string)).rejects.toThrow(/No arguments provided for filter/)
  })
})
