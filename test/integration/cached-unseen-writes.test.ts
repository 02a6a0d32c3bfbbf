import { defineEntity, type EntityManager, type EventArgs, MikroORM, p } from '@mikro-orm/core'
import type { SqlEntityManager } from '@mikro-orm/sql'
import { MikroORM as SqliteOrm } from '@mikro-orm/sqlite'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { memoryCache } from '../../src/cache/cache-choice.ts'
import { cachedQuery, dep } from '../../src/cache/cached-query.ts'
import { cachePolicy } from '../../src/cache/policy.ts'
import { createDataAccess } from '../../src/data-access.ts'
import { dataAccess } from '../../src/extension.ts'
import { inRootContext } from '../../src/kernel/root-context.ts'
import { Author, authorPolicy } from '../support/cache-entities.ts'
import { type CacheGround, openCacheGround } from '../support/cache-ground.ts'
import { byTeam, Label, labelled, Member, memberPolicy, relationEntities, Team } from '../support/cache-relation-entities.ts'
import { dialects, openTestDatabase } from '../support/databases.ts'
import { MemoryLogger } from '../support/memory-logger.ts'

type Transaction = NonNullable<ReturnType<EntityManager['getTransactionContext']>>

describe.each(dialects)('transactions that nobody saw begin, on %s with the redis store', (dialect) => {
  let ground: CacheGround
  const sweepMs = 200
  let afterUpsert: ((em: EntityManager, id: string) => Promise<unknown>) | undefined
  beforeAll(async () => {
    const subscriber = {
      getSubscribedEntities: () => [Author],
      afterUpsert: async ({ em, entity }: EventArgs<Author>) => void (await afterUpsert?.(em, entity.id)),
    }
    ground = await openCacheGround(dialect, 'redis', { sweepMs, subscribers: [subscriber] })
  })
  afterAll(() => ground.close())

  const nameOf = (id: string) => inRootContext(async () => (await ground.cache.cached(Author).get(id))?.name)
  const rename = async (em: EntityManager, id: string, name: string) => {
    ;(await em.findOneOrFail(Author, id)).name = name
    await em.flush()
  }

  test.each<[string, (trx: Transaction, id: string, name: string) => Promise<unknown>]>([
    [
      'a flush of an entity manager that was put into it',
      (trx, id, name) => {
        const em = ground.fork()
        em.setTransactionContext(trx)
        return rename(em, id, name)
      },
    ],
    [
      'a flush of one with event listeners of its own',
      (trx, id, name) => {
        const em = ground.orm.em.fork({ freshEventManager: true })
        em.setTransactionContext(trx)
        return rename(em, id, name)
      },
    ],
    [
      'em.transactional() with its context',
      (trx, id, name) => ground.fork().transactional((em) => rename(em, id, name), { ctx: trx }),
    ],
    ['a bulk write with its context', (trx, id, name) => ground.fork().nativeUpdate(Author, { id }, { name }, { ctx: trx })],
  ])('what is written there is swept once it has committed: %s', async (_how, write) => {
    const { id } = await ground.author({ name: 'old' })
    expect(await nameOf(id)).toBe('old')
    await (ground.fork() as SqlEntityManager).getConnection().transactional(async (trx) => {
      await write(trx, id, 'new')
      // Fills the cache again, with what is there before the commit.
      if (dialect === 'postgresql') expect(await nameOf(id)).toBe('old')
    })
    await vi.waitFor(async () => expect(await nameOf(id)).toBe('new'), { timeout: 20 * sweepMs, interval: 20 })
  })

  test('an upsert whose subscriber writes through the entity manager that it gets does not wait for itself', async () => {
    const { id, email } = await ground.author({ name: 'old' })
    expect(await nameOf(id)).toBe('old')
    afterUpsert = (em, written) => em.nativeUpdate(Author, { id: written }, { active: false })
    try {
      await ground.fork().upsert(Author, { id, email, name: 'new' } as never)
    } finally {
      afterUpsert = undefined
    }
    expect(await nameOf(id)).toBe('new')
    expect((await ground.cache.cached(authorPolicy).get(id))?.active).toBe(false)
  })
})

describe('an adopted ORM', () => {
  const NoteSchema = defineEntity({ name: 'KeptNote', properties: { id: p.integer().primary(), text: p.text() } })
  class KeptNote extends NoteSchema.class {}
  NoteSchema.setClass(KeptNote)
  const init = (more: object = {}) =>
    SqliteOrm.init({
      dbName: ':memory:',
      entities: [KeptNote],
      extensions: [dataAccess({ modules: [{ name: 'notes', caches: [cachePolicy(KeptNote)] }] })],
      ...more,
    })

  test('is refused where a flush has no transaction', async () => {
    for (const option of [{ implicitTransactions: false }, { disableTransactions: true }]) {
      const orm = await init(option)
      await expect(createDataAccess({ orm, cache: memoryCache() })).rejects.toMatchObject({
        code: 'OPTION_INVALID',
        message: expect.stringContaining(Object.keys(option)[0] as string),
      })
      await orm.close()
    }
  })

  test('tells of bulk writes through forks that were made before it was adopted', async () => {
    const orm = await init()
    expect(orm).toBeInstanceOf(MikroORM)
    const early = orm.em.fork()
    const data = await createDataAccess({ orm, cache: memoryCache() })
    await data.migrate()
    await orm.schema.create()
    await early.insert(KeptNote, { id: 1, text: 'old' })
    expect((await data.cached(KeptNote).get(1))?.text).toBe('old')
    await early.nativeUpdate(KeptNote, { id: 1 }, { text: 'new' })
    expect((await data.cached(KeptNote).get(1))?.text).toBe('new')
    await data.close()
    await orm.close()
  })
})

describe('what cannot be kept true is refused', () => {
  const open = async (caches: never[], entities: unknown[] = []) => {
    const ground = await openCacheGround('sqlite', 'memory', { entities: [...relationEntities, ...entities] as never[], caches })
    await ground.close()
  }
  const query = (dependency: ReturnType<typeof dep>) =>
    cachedQuery({ name: 'refused', dependsOn: () => [dependency], run: async () => [] as number[] }) as never

  test.each([
    ['labels', 'dep(Team) and dep(Label), or on an entity of the pivot table such as TeamLabel'],
    ['members', 'dep(Member, { team: … })'],
    ['profile', 'dep(Profile, { team: … })'],
  ])('a dependency on %s, which says on what to depend instead', async (name, cure) => {
    const opened = open([query(dep(Team, { [name]: 1 }))])
    await expect(opened).rejects.toMatchObject({ code: 'OPTION_INVALID', message: expect.stringContaining(cure) })
    await expect(opened).rejects.toThrow(`refused depends on \`${name}\``)
  })

  test('a policy for a view, and a dependency on one', async () => {
    const ViewSchema = defineEntity({
      name: 'TeamView',
      view: true,
      expression: 'select id, name from teams',
      properties: { id: p.integer().primary(), name: p.string() },
    })
    class TeamView extends ViewSchema.class {}
    ViewSchema.setClass(TeamView)
    for (const cache of [cachePolicy(TeamView), query(dep(TeamView))]) {
      const opened = open([cache as never], [TeamView])
      await expect(opened).rejects.toMatchObject({
        code: 'OPTION_INVALID',
        message: expect.stringContaining('TeamView, which is a view'),
      })
    }
  })

  test('what is beside them is not', async () => {
    await open([memberPolicy, byTeam, labelled] as never[])
  })
})

describe.each(dialects)('a process without a cache, on %s', (dialect) => {
  test.each<[string, false | undefined, (em: SqlEntityManager) => unknown]>([
    ['a flush', undefined, (em) => em.create(Member, { id: 2 })],
    ['a flush', false, (em) => em.create(Member, { id: 2 })],
    ['insert()', false, (em) => em.insert(Member, { id: 2 })],
    ['upsert()', false, (em) => em.upsert(Member, { id: 1, title: 'new' })],
    ['nativeUpdate()', false, (em) => em.nativeUpdate(Member, { id: 1 }, { title: 'new' })],
    ['nativeDelete()', false, (em) => em.nativeDelete(Member, { id: 1 })],
    ['a query builder', false, (em) => em.createQueryBuilder(Member).update({ title: 'new' }).execute()],
  ])('warns once as it writes what modules cache, by %s: %s', async (_how, cache, write) => {
    if (dialect === 'postgresql' && cache === undefined) return // one needs a choice there
    const database = await openTestDatabase(dialect)
    const logger = new MemoryLogger()
    const modules = [{ name: 'teams', entities: relationEntities, caches: [memberPolicy, byTeam] }]
    const data = await createDataAccess({ modules, database: { url: database.url }, cache, logger })
    await data.migrate()
    await data.orm.schema.create()
    const inUnit = (run: (em: SqlEntityManager) => unknown) =>
      data.unitOfWork(async ({ em }) => void (await run(em as SqlEntityManager)))
    await inUnit((em) => em.create(Label, { id: 1, text: 'not cached' }))
    await inUnit((em) => em.insert(Label, { id: 2, text: 'not cached' }))
    expect(logger.warnings).toEqual([])
    for (const each of [write, (em: EntityManager) => em.create(Member, { id: 3 })]) {
      await inUnit(each)
      expect(logger.warnings.map(({ message }) => message)).toEqual([
        expect.stringContaining('writes Member, which a module caches'),
      ])
    }
    await data.close()
    await database.close()
  })
})
