import { AsyncLocalStorage } from 'node:async_hooks'
import { defineEntity, type EntityManager, p } from '@mikro-orm/core'
import { afterEach, describe, expect, test } from 'vitest'
import { cachedQuery, dep } from '../../src/cache/cached-query.ts'
import { cachePolicy } from '../../src/cache/policy.ts'
import { cacheCombinations } from '../support/cache-ground.ts'
import { type CachedAccess, openCachedAccess } from '../support/cached-access.ts'
import { MemoryLogger } from '../support/memory-logger.ts'

const tenants = new AsyncLocalStorage<string>()

/** Filtered by what the caller's entity manager was told. */
const TenantSchema = defineEntity({
  name: 'Tenant',
  filters: { tenant: { name: 'tenant', cond: (args) => ({ name: args.name }), default: true } },
  properties: { id: p.integer().primary(), name: p.string() },
})
class Tenant extends TenantSchema.class {}
TenantSchema.setClass(Tenant)

const DocSchema = defineEntity({
  name: 'Doc',
  properties: { id: p.integer().primary(), title: p.string(), tenant: () => p.manyToOne(Tenant).ref() },
})
class Doc extends DocSchema.class {}
DocSchema.setClass(Doc)
const docs = cachedQuery({
  name: 'docs',
  dependsOn: () => [dep(Doc)],
  run: async (em) => (await em.find(Doc, {}, { orderBy: { id: 1 } })).map(({ title }) => title),
})
const allDocs = cachedQuery({
  name: 'allDocs',
  dependsOn: () => [dep(Doc)],
  run: (em) => em.find(Doc, {}, { filters: false, orderBy: { id: 1 } }),
  filters: false,
})

/** Hidden for all alike. */
const RoomSchema = defineEntity({
  name: 'Room',
  filters: { open: { name: 'open', cond: { closed: false }, default: true }, off: { name: 'off', cond: { id: 0 } } },
  properties: { id: p.integer().primary(), closed: p.boolean() },
})
class Room extends RoomSchema.class {}
RoomSchema.setClass(Room)
const BedSchema = defineEntity({
  name: 'Bed',
  properties: { id: p.integer().primary(), room: () => p.manyToOne(Room).ref().nullable() },
})
class Bed extends BedSchema.class {}
BedSchema.setClass(Bed)
const beds = cachedQuery({ name: 'beds', dependsOn: () => [dep(Bed), dep(Room)], run: (em) => em.find(Bed, {}) })
const openRooms = cachedQuery({
  name: 'openRooms',
  dependsOn: () => [dep(Room)],
  run: async (em) => (await em.find(Room, {})).map(({ id }) => id),
})
/** Led to by what is loaded with it. */
const PillowSchema = defineEntity({
  name: 'Pillow',
  properties: { id: p.integer().primary(), bed: () => p.manyToOne(Bed).eager() },
})
class Pillow extends PillowSchema.class {}
PillowSchema.setClass(Pillow)
/** Turns on what is off by default. */
const ShelfSchema = defineEntity({
  name: 'Shelf',
  properties: { id: p.integer().primary(), room: () => p.manyToOne(Room).ref().filters({ open: false, off: true }) },
})
class Shelf extends ShelfSchema.class {}
ShelfSchema.setClass(Shelf)

/** Filtered by what is around the call. */
const NoteSchema = defineEntity({
  name: 'Note',
  filters: { around: { name: 'around', cond: () => ({ owner: tenants.getStore() ?? 'none' }), default: true } },
  properties: { id: p.integer().primary(), owner: p.string() },
})
class Note extends NoteSchema.class {}
NoteSchema.setClass(Note)
const notes = cachedQuery({
  name: 'notes',
  dependsOn: () => [dep(Note)],
  run: async (em) => (await em.find(Note, {})).map(({ owner }) => owner),
})
const notesOf = cachedQuery({
  name: 'notesOf',
  dependsOn: (v: { owner: string }) => [dep(Note, { owner: v.owner })],
  run: async (em, { owner }) => (await em.find(Note, { owner }, { filters: false })).map((note) => note.owner),
  filters: false,
})

describe.each(cacheCombinations)('filters and the cache on $dialect with the $store store', ({ dialect, store }) => {
  let access: CachedAccess
  afterEach(() => access.close())
  const as = (name: string): EntityManager => {
    const em = access.data.fork()
    em.setFilterParams('tenant', { name })
    return em
  }

  test('one on the target of a relation that must be hides a row, and one of parameters a query, from whom it hides it', async () => {
    access = await openCachedAccess(dialect, store, {
      entities: [Tenant, Doc],
      caches: [cachePolicy(Doc), docs, allDocs],
    })
    const { data, add } = access
    await add([Tenant, { id: 1, name: 'a' }], [Tenant, { id: 2, name: 'b' }])
    await add([Doc, { id: 1, title: 'of a', tenant: 1 }], [Doc, { id: 2, title: 'of b', tenant: 2 }])
    for (let turn = 1; turn <= 2; turn++) {
      expect((await data.cached(Doc, { em: as('a') }).get(1))?.title).toBe('of a')
      expect(await data.cached(Doc, { em: as('b') }).get(1)).toBeNull()
      expect(await data.cached(docs, { em: as('a') }).get({})).toEqual(['of a'])
      expect(await data.cached(docs, { em: as('b') }).get({})).toEqual(['of b'])
      // Whose filters nobody gave parameters for, as MikroORM says it.
      await expect(data.cached(docs).get({})).rejects.toThrow(/No arguments provided for filter/)
    }
    expect(data.cached(docs).stats().loads).toBe(0)
    const titles = async () => (await data.cached(allDocs, { em: as('a') }).get({})).map(({ title }) => title)
    expect([await titles(), await titles()]).toEqual([
      ['of a', 'of b'],
      ['of a', 'of b'],
    ])
    expect(data.cached(allDocs).stats().loads).toBe(1)
  })

  test('one on the target of a nullable relation hides the id of what it hides', async () => {
    access = await openCachedAccess(dialect, store, {
      entities: [Room, Bed, Pillow, Shelf],
      caches: [cachePolicy(Room), cachePolicy(Bed), cachePolicy(Pillow), cachePolicy(Shelf), beds, openRooms],
    })
    const { data, add } = access
    await add([Room, { id: 1, closed: true }], [Room, { id: 2, closed: false }], [Bed, { id: 1, room: 1 }])
    await add([Pillow, { id: 1, bed: 1 }], [Shelf, { id: 1, room: 2 }])
    for (let turn = 1; turn <= 3; turn++) {
      expect((await data.cached(Bed).get(1))?.room).toBeNull()
      expect((await data.cached(beds).get({})).map(({ room }) => room)).toEqual([null])
      expect((await data.cached(Pillow).get(1))?.bed.room ?? null).toBeNull()
      expect(await data.cached(Shelf).get(1)).toEqual(await data.fork().findOne(Shelf, 1))
      // What hides from all alike hides here too.
      expect(await data.cached(openRooms).get({})).toEqual([2])
    }
    expect(data.cached(openRooms).stats().loads).toBe(1)
    expect([Bed, Pillow, Shelf].map((each) => data.cached<object>(each).stats().loads)).toEqual([0, 0, 0])
  })

  test('one that asks what is around the call leaves each caller what is his', async () => {
    const logger = new MemoryLogger()
    access = await openCachedAccess(dialect, store, { entities: [Note], caches: [cachePolicy(Note), notes, notesOf] }, logger)
    const { data, add } = access
    const told: unknown[] = []
    for (const cache of [data.cached(notes), data.cached(Note)]) cache.on('bypassed', (event) => told.push(event))
    await add([Note, { id: 1, owner: 'a' }], [Note, { id: 2, owner: 'b' }])
    for (const owner of ['a', 'b', 'a']) {
      expect(await tenants.run(owner, () => data.cached(notes).get({}))).toEqual([owner])
      expect(await tenants.run(owner, () => data.cached(notesOf).get({ owner }))).toEqual([owner])
    }
    expect(data.cached(notes).stats()).toMatchObject({ loads: 0, bypasses: 3 })
    expect(data.cached(notesOf).stats()).toMatchObject({ loads: 2, bypasses: 0 })
    await tenants.run('a', () => data.cached(Note).getMany([1, 2]))
    const [bypass, both] = [1, 2].map((entries) => ({ entries, reason: 'filter' }))
    expect(told).toEqual([bypass, bypass, bypass, both])
    // Once each, however often it is read.
    expect(logger.warnings.map(({ message }) => message)).toEqual([
      expect.stringMatching(/^The cached query notes always reads past the cache: the filter "around" .* filters: false$/),
      expect.stringMatching(/^Note is always read past its cache: the filter "around" /),
    ])
  })

  test('a read that goes past the cache tells why', async () => {
    access = await openCachedAccess(dialect, store, { entities: [Room], caches: [cachePolicy(Room), openRooms] })
    const { data, add } = access
    await add([Room, { id: 1, closed: true }])
    const why: string[] = []
    data.cached(openRooms).on('bypassed', ({ reason }) => why.push(reason))
    const read = (em?: EntityManager) => data.cached(openRooms, em && { em }).get({})

    await data.unitOfWork(() => read())
    const edited = data.fork()
    ;(await edited.findOneOrFail(Room, 1, { filters: false })).closed = false
    await read(edited)
    const narrowed = data.fork()
    narrowed.addFilter({ name: 'own', cond: { id: 1 }, entity: Room })
    await read(narrowed)
    expect(why).toEqual(['transaction', 'unflushed', 'view'])
    await read()
    expect(data.cached(openRooms).stats()).toMatchObject({ bypasses: 3, loads: 1 })
  })
})
