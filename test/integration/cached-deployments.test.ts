import { randomUUID } from 'node:crypto'
import { defineEntity, p } from '@mikro-orm/core'
import { afterEach, describe, expect, test } from 'vitest'
import { cachedQuery, dep } from '../../src/cache/cached-query.ts'
import { cachePolicy } from '../../src/cache/policy.ts'
import { runSql } from '../../src/database/sql.ts'
import { createDataAccess } from '../../src/index.ts'
import { silentLogger } from '../../src/kernel/logger.ts'
import { cacheOf } from '../support/cached-access.ts'
import { dialects, openTestDatabase } from '../support/databases.ts'
import { closesOpened } from '../support/opened.ts'

const patience = { timeout: 20_000, interval: 20 }

interface Version {
  readonly lazy?: boolean
  readonly formula?: string
  readonly color?: boolean
}

/** The classes of one deployment. */
function classesOf({ lazy = false, formula = '1', color = false }: Version) {
  const bio = p.text().default('bio')
  const VehicleSchema = defineEntity({
    name: 'Vehicle',
    inheritance: 'tpt',
    properties: {
      id: p.integer().primary(),
      name: p.string(),
      bio: lazy ? bio.lazy() : bio,
      sum: p.integer().formula(formula).nullable(),
      of: p
        .integer()
        .formula((columns) => `${columns.id} + ${formula}`)
        .nullable(),
    },
  } as never)
  const Vehicle = class extends (VehicleSchema as unknown as { class: new () => { id: number } }).class {}
  VehicleSchema.setClass(Vehicle as never)
  const CarSchema = defineEntity({
    name: 'Car',
    extends: VehicleSchema,
    properties: { plate: p.string(), ...(color ? { color: p.string().default('grey') } : {}) },
  } as never)
  const Car = class extends Vehicle {}
  CarSchema.setClass(Car as never)
  return { Vehicle, Car }
}

// Two deployments run at once while one takes the place of the other.
describe.each(dialects)('deployments that share a cache, on %s', (dialect) => {
  const open: (() => Promise<unknown>)[] = []
  afterEach(async () => {
    for (const close of open.splice(0).reverse()) await close()
  })

  const changes: readonly (readonly [what: string, before: Version, after: Version])[] = [
    ['is no more lazy', { lazy: true }, {}],
    ['is lazy now', {}, { lazy: true }],
    ['has another formula', {}, { formula: '2' }],
    ['is new in a class with a table of its own', {}, { color: true }],
  ]
  test.each(changes)('do not read what the other one wrote, when a property %s', async (_what, before, after) => {
    const database = await openTestDatabase(dialect)
    open.push(() => database.close())
    const prefix = `test-${randomUUID().slice(0, 8)}:`
    const deploy = async (version: Version) => {
      const classes = classesOf(version)
      const data = await createDataAccess({
        modules: [{ name: 'fleet', entities: [classes.Vehicle, classes.Car], caches: [cachePolicy(classes.Vehicle)] }],
        database: { url: database.url },
        cache: cacheOf('redis', prefix),
      })
      open.push(() => data.close())
      return { data, ...classes }
    }
    const old = await deploy(before)
    await old.data.migrate()
    await old.data.orm.schema.update()
    await old.data.unitOfWork(async ({ em }) => void em.create(old.Car, { id: 1, name: 'vw', plate: 'p' } as never))
    if (after.color) await runSql(old.data.fork(), `alter table car add column color varchar(255) not null default 'grey'`)
    await old.data.cached(old.Vehicle).get(1)
    const next = await deploy(after)
    const same = await deploy(before)
    const found = await next.data.cached(next.Vehicle).get(1)
    expect({ ...found }).toEqual({ ...(await next.data.fork().findOne(next.Vehicle, 1)) })
    // Until what it loads has arrived.
    const { hits } = old.data.cached(old.Vehicle).stats()
    await expect
      .poll(async () => (await old.data.cached(old.Vehicle).get(1)) && old.data.cached(old.Vehicle).stats().hits)
      .toBe(hits + 1)
    await same.data.cached(same.Vehicle).get(1)
    expect(same.data.cached(same.Vehicle).stats()).toMatchObject({ hits: 1, loads: 0 })
  })
})

/** The class of a deployment whose rows are elsewhere than those of another one. */
function noteIn(where: { readonly schema?: string; readonly tableName: string }) {
  const NoteSchema = defineEntity({ name: 'Note', ...where, properties: { id: p.integer().primary(), text: p.text() } })
  class Note extends NoteSchema.class {}
  NoteSchema.setClass(Note)
  return Note
}

// A deployment for each tenant, on one database and one Redis.
const tables = [{ tableName: 'notes_of_one' }, { tableName: 'notes_of_two' }] as const
const schemas = [
  { schema: 'one', tableName: 'notes' },
  { schema: 'two', tableName: 'notes' },
] as const
describe.each([
  ['a table', 'sqlite', tables],
  ['a table', 'postgresql', tables],
  ['a schema', 'postgresql', schemas],
] as const)('deployments whose entities of one name have %s each, on %s', (_what, dialect, places) => {
  const open: (() => Promise<unknown>)[] = []
  afterEach(async () => {
    for (const close of open.splice(0).reverse()) await close()
  })

  test('never get each other’s rows', async () => {
    const database = await openTestDatabase(dialect)
    open.push(() => database.close())
    const prefix = `test-${randomUUID().slice(0, 8)}:`
    const deploy = async (Note: ReturnType<typeof noteIn>, text: string) => {
      const lengths = cachedQuery({
        name: 'lengths',
        dependsOn: () => [dep(Note)],
        run: async (em) => (await em.find(Note, {})).map((note) => note.text.length),
      })
      const data = await createDataAccess({
        modules: [{ name: 'notes', entities: [Note], caches: [cachePolicy(Note), lengths] }],
        database: { url: database.url },
        cache: cacheOf('redis', prefix),
        logger: silentLogger,
      })
      open.push(() => data.close())
      await data.migrate()
      await data.orm.schema.update({ safe: true, dropTables: false })
      await data.unitOfWork(async ({ em }) => void em.create(Note, { id: 1, text }))
      return async () => [(await data.cached(Note).get(1))?.text, await data.cached(lengths).get({})]
    }
    const one = await deploy(noteIn(places[0]), 'of one')
    const two = await deploy(noteIn(places[1]), 'of the other')
    for (let turn = 1; turn <= 2; turn++) {
      expect(await one()).toEqual(['of one', [6]])
      expect(await two()).toEqual(['of the other', [12]])
    }
  })
})

/** What a deployment caches of notes, of which a newer one may know a column more. */
function taggedNotes({ tagged }: { readonly tagged: boolean }) {
  const NoteSchema = defineEntity({
    name: 'Note',
    properties: { id: p.integer().primary(), text: p.text().unique(), ...(tagged ? { tag: p.text().nullable() } : {}) },
  } as never)
  class Note extends (NoteSchema as unknown as { class: new () => { id: number; text: string } }).class {}
  NoteSchema.setClass(Note as never)
  const policy = cachePolicy(Note, { uniques: ['text'] })
  const idsOf = cachedQuery({
    name: 'idsOf',
    dependsOn: ({ text }: { text: string }) => [dep(Note, { text })],
    run: async (em, { text }) => (await em.find(Note, { text })).map(({ id }) => id),
  })
  return { Note, policy, idsOf, module: { name: 'notes', entities: [Note], caches: [policy, idsOf] } }
}

describe.each(dialects)('deployments of which one knows a column more, on %s', (dialect) => {
  const track = closesOpened()

  test('expire with what they write what the other one has cached', async () => {
    const database = track(await openTestDatabase(dialect))
    const prefix = `test-${randomUUID().slice(0, 8)}:`
    const deploy = async (tagged: boolean) => {
      const { Note, policy, idsOf, module } = taggedNotes({ tagged })
      const cache = cacheOf('redis', prefix)
      const data = track(await createDataAccess({ modules: [module], database: { url: database.url }, cache }))
      await data.migrate()
      await data.orm.schema.update()
      const see = async (text: string) => ({
        row: (await data.cached(Note).get(1))?.text,
        lookup: (await data.cached(policy).byText(text))?.id,
        query: await data.cached(idsOf).get({ text }),
      })
      const misses = () => data.cached(policy).stats().misses + data.cached(idsOf).stats().misses
      return {
        see,
        create: () => data.unitOfWork(async ({ em }) => void em.create(Note, { id: 1, text: '0' } as never)),
        /** Reads until all are hits. */
        keeps: (text: string) => {
          const missed = async () => {
            const before = misses()
            await see(text)
            return misses() - before
          }
          return expect.poll(missed, patience).toBe(0)
        },
        writes: {
          byFlush: (text: string) =>
            data.unitOfWork(async ({ em }) => void Object.assign(await em.findOneOrFail(Note, 1), { text })),
          inBulk: (text: string) => data.fork().nativeUpdate(Note, { id: 1 }, { text }),
        },
      }
    }
    const [old, next] = [await deploy(false), await deploy(true)]
    await old.create()
    let [before, writes] = ['0', 0]
    for (const [reader, writer] of [[next, old] as const, [old, next] as const]) {
      for (const write of [writer.writes.byFlush, writer.writes.inBulk]) {
        await reader.keeps(before)
        const after = String(++writes)
        await reader.keeps(after) // that there is none as well
        await write(after)
        // On a slow machine Redis acknowledges it too late, and it is swept.
        await expect.poll(() => reader.see(before), patience).toEqual({ row: after, lookup: undefined, query: [] })
        await expect.poll(() => reader.see(after), patience).toEqual({ row: after, lookup: 1, query: [1] })
        before = after
      }
    }
  })
})
