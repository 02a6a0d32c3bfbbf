import { defineEntity, FlushMode, p, raw } from '@mikro-orm/core'
import type { SqlEntityManager } from '@mikro-orm/sql'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { cachedQuery, dep } from '../../src/cache/cached-query.ts'
import { cachePolicy } from '../../src/cache/policy.ts'
import { type CacheGround, cacheCombinations, openCacheGround } from '../support/cache-ground.ts'
import { Label, relationEntities, Team, TeamLabel } from '../support/cache-relation-entities.ts'

const OwnerSchema = defineEntity({
  name: 'Owner',
  tableName: 'owners',
  properties: {
    id: p.integer().primary().fieldName('owner_key'),
    code: p.text().unique(),
    name: p.text(),
    sign: () => p.oneToOne(Sign).mappedBy('owner').joinColumn('owner_code').nullable(),
  },
})
class Owner extends OwnerSchema.class {}
OwnerSchema.setClass(Owner)

/** Refers to the id. */
const ThingSchema = defineEntity({
  name: 'Thing',
  tableName: 'things',
  properties: {
    id: p.integer().primary(),
    owner: () => p.manyToOne(Owner).updateRule('cascade').deleteRule('cascade'),
    text: p.text(),
  },
})
class Thing extends ThingSchema.class {}
ThingSchema.setClass(Thing)

/** Refers to another unique column. */
const PartSchema = defineEntity({
  name: 'Part',
  tableName: 'parts',
  properties: {
    id: p.integer().primary(),
    owner: () => p.manyToOne(Owner).targetKey('code').updateRule('cascade').deleteRule('cascade'),
  },
})
class Part extends PartSchema.class {}
PartSchema.setClass(Part)

const SignSchema = defineEntity({
  name: 'Sign',
  tableName: 'signs',
  properties: {
    id: p.integer().primary(),
    owner: () => p.oneToOne(Owner).owner().targetKey('code').joinColumn('owner_code').nullable(),
  },
})
class Sign extends SignSchema.class {}
SignSchema.setClass(Sign)

const ownerPolicy = cachePolicy(Owner, { uniques: ['code'] })
const thingsOf = cachedQuery({
  name: 'thingsOf',
  dependsOn: ({ owner }: { owner: number }) => [dep(Thing, { owner })],
  run: async (em, { owner }) => (await em.find(Thing, { owner })).map(({ id }) => id),
})
const partsOf = cachedQuery({
  name: 'partsOf',
  dependsOn: ({ code }: { code: string }) => [dep(Part, { owner: code as never })],
  run: async (em, { code }) => (await em.find(Part, { owner: { code } })).map(({ id }) => id),
})
const textsOf = cachedQuery({
  name: 'textsOf',
  dependsOn: ({ owner }: { owner: number }) => [dep(Thing, { owner })],
  run: async (em, { owner }) => (await em.find(Thing, { owner })).map(({ text }) => text),
})
const labelsOf = cachedQuery({
  name: 'labelsOf',
  dependsOn: ({ team }: { team: number }) => [dep(TeamLabel, { team })],
  run: async (em, { team }) => (await em.find(TeamLabel, { team }, { orderBy: { label: 1 } })).map(({ label }) => label.id),
})

const caches = [ownerPolicy, cachePolicy(Thing), cachePolicy(Part), thingsOf, partsOf, textsOf, labelsOf]
const entities = [Owner, Thing, Part, Sign, ...relationEntities]

describe.each(cacheCombinations)('keys that others refer to, on $dialect with the $store store', ({ dialect, store }) => {
  let ground: CacheGround
  beforeEach(async () => {
    ground = await openCacheGround(dialect, store, { entities, caches })
    const em = ground.fork()
    const owner = em.create(Owner, { id: 1, code: 'one', name: 'first' })
    em.create(Thing, { id: 10, owner, text: 'old' })
    em.create(Part, { id: 20, owner })
    for (const id of [1, 2]) em.create(Label, { id, text: `${id}` })
    em.create(Team, { id: 1, name: 'team' })
    await em.flush()
  })
  afterEach(() => ground.close())

  const seen = async () => {
    const { cache } = ground
    const rows = [await cache.cached(Thing).get(10), await cache.cached(Part).get(20)]
    const owned = async (id: number, code: string) => [
      await cache.cached(thingsOf).get({ owner: id }),
      await cache.cached(partsOf).get({ code }),
    ]
    return {
      owners: [(rows[0] as Thing).owner.id, (rows[1] as Part).owner.code],
      old: await owned(1, 'one'),
      new: await owned(2, 'two'),
      names: [(await cache.cached(Owner).get(1))?.name, (await cache.cached(Owner).get(2))?.name],
    }
  }
  const before = { owners: [1, 'one'], old: [[10], [20]], new: [[], []], names: ['first', undefined] }
  const renamed = { ...before, owners: [2, 'one'], old: [[], [20]], new: [[10], []], names: [undefined, 'first'] }
  const recoded = { ...before, owners: [1, 'two'], old: [[10], []], new: [[], [20]] }
  const data = { id: 2, code: 'one', name: 'first' }

  test.each<[string, object, (em: SqlEntityManager) => Promise<unknown>]>([
    ['an update of the id', renamed, (em) => em.nativeUpdate(Owner, { id: 1 }, { id: 2 })],
    ['an update of its column', renamed, (em) => em.nativeUpdate(Owner, { id: 1 }, { owner_key: 2 } as never)],
    ['a query builder', renamed, (em) => em.qb(Owner).update({ id: 2 }).where({ id: 1 }).execute()],
    [
      'one that names the column',
      renamed,
      (em) =>
        em
          .qb(Owner)
          .update({ owner_key: 2 } as never)
          .where({ id: 1 })
          .execute(),
    ],
    ['an upsert by the code', renamed, (em) => em.upsert(Owner, data, { onConflictFields: ['code'] })],
    [
      'an upsert that merges an id',
      renamed,
      (em) => em.upsert(Owner, data, { onConflictFields: ['code'], onConflictMergeFields: ['id', 'name'] }),
    ],
    ['upserts by the code', renamed, (em) => em.upsertMany(Owner, [data], { onConflictFields: ['code'] })],
    ['a merging insert', renamed, (em) => em.qb(Owner).insert(data).onConflict('code').merge().execute()],
    [
      'a merging insert of another id',
      renamed,
      (em) => em.qb(Owner).insert({ id: 3, code: 'one', name: 'first' }).onConflict('code').merge({ id: 2 }).execute(),
    ],
    [
      'a merging insert from a query',
      renamed,
      (em) => {
        const rows = em
          .qb(Owner)
          .select([raw('2 as owner_key'), 'code', 'name'])
          .where({ id: 1 })
        return em
          .qb(Owner)
          .insertFrom(rows, { columns: ['id', 'code', 'name'] })
          .onConflict('code')
          .merge(['id'])
          .execute()
      },
    ],
    ['an update of the code', recoded, (em) => em.nativeUpdate(Owner, { id: 1 }, { code: 'two' })],
    ['a query builder with the code', recoded, (em) => em.qb(Owner).update({ code: 'two' }).where({ id: 1 }).execute()],
    ['an upsert by the id', recoded, (em) => em.upsert(Owner, { ...data, id: 1, code: 'two' })],
    [
      'a flush of the code',
      recoded,
      async (em) => {
        ;(await em.findOneOrFail(Owner, 1)).code = 'two'
        await em.flush()
      },
    ],
  ])('a change by %s shows in all that the database changes with it', async (_, after, change) => {
    expect(await seen()).toEqual(before)
    await change(ground.fork() as SqlEntityManager)
    expect(await seen()).toEqual(after)
  })

  const leaving = { onConflictFields: ['code' as const] }
  test.each<[string, (em: SqlEntityManager) => Promise<unknown>]>([
    ['excludes it', (em) => em.upsert(Owner, data, { ...leaving, onConflictExcludeFields: ['id'] })],
    ['merges others', (em) => em.upsert(Owner, data, { ...leaving, onConflictMergeFields: ['name'] })],
    ['changes nothing', (em) => em.upsert(Owner, data, { ...leaving, onConflictAction: 'ignore' })],
    ['is built and changes nothing', (em) => em.qb(Owner).insert(data).onConflict('code').ignore().execute()],
  ])('an upsert that names the id and %s leaves what refers to it', async (_, upsert) => {
    expect(await seen()).toEqual(before)
    const { hits } = ground.cache.cached(Thing).stats()
    await upsert(ground.fork() as SqlEntityManager)
    expect(await seen()).toEqual(before)
    expect(ground.cache.cached(Thing).stats().hits).toBeGreaterThan(hits)
  })

  test('a new owner of one to one by another key than the id shows at the other side', async () => {
    const sign = async () => (await ground.cache.cached(Owner).get(1))?.sign?.id
    expect(await sign()).toBeUndefined()
    const em = ground.fork()
    em.create(Sign, { id: 7, owner: await em.findOneOrFail(Owner, 1) })
    await em.flush()
    expect(await sign()).toBe(7)
  })

  test.each<[string, (em: SqlEntityManager) => Promise<unknown>]>([
    ['an update', (em) => em.nativeUpdate(Team, { id: 1 }, { labels: [1, 2] } as never)],
    ['an upsert', (em) => em.upsert(Team, { id: 1, name: 'team', labels: [1, 2] } as never)],
  ])('relations to many that %s writes along show', async (_, write) => {
    expect(await ground.cache.cached(labelsOf).get({ team: 1 })).toEqual([])
    await write(ground.fork() as SqlEntityManager)
    const stored = await ground.fork().find(TeamLabel, { team: 1 }, { orderBy: { label: 1 } })
    expect(stored).toHaveLength(2)
    expect(await ground.cache.cached(labelsOf).get({ team: 1 })).toEqual([1, 2])
  })

  test.each<[string, (em: SqlEntityManager, row: object) => Promise<unknown>]>([
    ['an insert', (em, row) => em.insert(Team, row as never)],
    ['inserts', (em, row) => em.insertMany(Team, [row] as never)],
  ])('relations to many that %s writes along show', async (_, write) => {
    expect(await ground.cache.cached(labelsOf).get({ team: 2 })).toEqual([])
    await write(ground.fork() as SqlEntityManager, { id: 2, name: 'new', labels: [2] })
    expect(await ground.cache.cached(labelsOf).get({ team: 2 })).toEqual([2])
  })

  test.each(['fork', 'setFlushMode'] as const)(
    'edits that a find would flush first are found, by the mode of %s',
    async (way) => {
      const owners = ground.cache.cached(ownerPolicy)
      expect(await owners.byCode('two')).toBeNull()
      const em = ground.orm.em.fork(way === 'fork' ? { flushMode: FlushMode.ALWAYS } : {})
      if (way === 'setFlushMode') em.setFlushMode(FlushMode.ALWAYS)
      const owner = await em.findOneOrFail(Owner, 1)
      owner.code = 'two'
      expect(await ground.cache.cached(ownerPolicy, { em }).byCode('two')).toBe(owner)
      expect((await owners.byCode('two'))?.id).toBe(1)
    },
  )

  // On SQLite nobody can come in between.
  test.each(dialect === 'postgresql' ? ['updated', 'deleted'] : [])(
    'a row that was gone when it was looked for, and is there again as it is %s, shows',
    async (how) => {
      const em = ground.fork()
      const stale = await em.findOneOrFail(Thing, 10)
      const other = await ground.openOther()
      await other.fork().nativeDelete(Thing, { id: 10 })
      const driver = ground.orm.em.getDriver() as unknown as { execute: (...args: unknown[]) => Promise<unknown> }
      const { execute } = driver
      driver.execute = async (...args) => {
        const found = await execute.apply(driver, args)
        if (!/^select .* for (no key )?update/.test(String(args[0]))) return found
        driver.execute = execute
        await other.fork().insert(Owner, { id: 2, code: 'two', name: 'second' })
        await other.fork().insert(Thing, { id: 10, owner: 2, text: 'again' })
        expect(await other.cache.cached(textsOf).get({ owner: 2 })).toEqual(['again'])
        return found
      }
      if (how === 'updated') stale.text = 'new'
      else em.remove(stale)
      await em.flush()
      expect(driver.execute).toBe(execute)
      expect(await ground.cache.cached(textsOf).get({ owner: 2 })).toEqual(how === 'updated' ? ['new'] : [])
      await other.close()
    },
  )
})
