import { defineEntity, type EntityName, type Options, p, raw } from '@mikro-orm/core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openOrm } from '../../src/database/connection.ts'
import { withQueries } from '../../src/database/query-scope.ts'
import { watchQueries } from '../../src/database/query-watch.ts'
import { runSql } from '../../src/database/sql.ts'
import { findPage, type Page, type PageOptions } from '../../src/repository/page.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../support/databases.ts'

const PersonSchema = defineEntity({
  name: 'Person',
  properties: {
    id: p.integer().primary(),
    name: p.string(),
    visits: () => p.oneToMany(Visit).mappedBy('person'),
  },
})
class Person extends PersonSchema.class {}
PersonSchema.setClass(Person)
const VisitSchema = defineEntity({
  name: 'Visit',
  properties: { id: p.integer().primary(), person: () => p.manyToOne(Person) },
})
class Visit extends VisitSchema.class {}
VisitSchema.setClass(Visit)
const ProfileSchema = defineEntity({
  name: 'Profile',
  properties: { person: () => p.oneToOne(Person).primary().owner(), bio: p.string() },
})
class Profile extends ProfileSchema.class {}
ProfileSchema.setClass(Profile)
const MemberSchema = defineEntity({
  name: 'Member',
  properties: { person: () => p.manyToOne(Person).primary(), team: p.integer().primary() },
})
class Member extends MemberSchema.class {}
MemberSchema.setClass(Member)
const AddressSchema = defineEntity({
  name: 'Address',
  embeddable: true,
  properties: { street: p.string().nullable(), city: p.string().nullable() },
})
class Address extends AddressSchema.class {}
AddressSchema.setClass(Address)
const ThingSchema = defineEntity({
  name: 'Thing',
  orderBy: { parent: 'desc' },
  properties: {
    id: p.integer().primary(),
    name: p.string().nullable(),
    float: p.float(),
    double: p.double().$type<number>().nullable(),
    decimal: p.decimal('number').precision(30).scale(20),
    big: p.bigint(),
    at: p.datetime(),
    day: p.date(),
    flag: p.boolean(),
    bytes: p.blob().nullable(),
    body: p.text().lazy(),
    level: p.enum(['low', 'high']).customOrder('low', 'high'),
    notes: p.json<{ readonly rank: number }>().nullable(),
    length: p.integer().formula((columns) => `length(${columns.name})`),
    parent: () => p.manyToOne(Thing).nullable(),
    member: () => p.manyToOne(Member).nullable(),
    address: () => p.embedded(Address).nullable(),
    document: () => p.embedded(Address).object().nullable(),
  },
  indexes: [{ properties: ['at', 'id'] }],
})
class Thing extends ThingSchema.class {}
ThingSchema.setClass(Thing)
const AnimalSchema = defineEntity({
  name: 'Animal',
  inheritance: 'tpt',
  properties: { id: p.integer().primary(), legs: p.integer() },
})
class Animal extends AnimalSchema.class {}
AnimalSchema.setClass(Animal)
const DogSchema = defineEntity({ name: 'Dog', extends: Animal, properties: { tricks: p.integer() } })
class Dog extends DogSchema.class {}
DogSchema.setClass(Dog)
const GhostSchema = defineEntity({ name: 'Ghost', expression: 'select 1 as one', properties: { one: p.integer() } })

const count = 7
const entities = [Person, Visit, Profile, Member, Address, Thing, Animal, Dog, GhostSchema] as Options['entities']

describe.each(dialects)('pages on %s', (dialect) => {
  let database: TestDatabase
  let orm: Awaited<ReturnType<typeof openOrm>>
  const fork = () => orm.em.fork()

  beforeAll(async () => {
    database = await openTestDatabase(dialect)
    orm = await openOrm({ url: database.url }, { entities })
    watchQueries(orm)
    await orm.schema.create()
    const em = fork()
    const things: Thing[] = []
    for (let id = 1; id <= count; id++) {
      const person = em.create(Person, { id, name: `the \\'same'?` })
      for (let visit = 0; visit < 3; visit++) em.create(Visit, { id: id * 10 + visit, person })
      em.create(Profile, { person, bio: `bio ${id}` })
      const member = em.create(Member, { person, team: 1 })
      em.create(Dog, { id, legs: 4, tricks: id % 2 })
      const place = { street: `s${id % 2}`, city: id % 3 === 0 ? null : `c${id % 3}` }
      const parent = things[id - 4]
      things.push(
        em.create(Thing, {
          ...{ id, name: id % 3 === 0 ? null : `n${id % 2}`, float: 0.1, double: 0.1 + id / 7, decimal: 0.1, big: 2n ** 60n },
          ...{
            at: new Date(1_700_000_000_000),
            day: '2024-01-01',
            flag: id % 2 === 0,
            body: `body ${id}`,
            parent: parent ?? null,
          },
          ...{ level: id % 2 === 0 ? 'low' : 'high', notes: id % 2 === 0 ? { rank: -id } : null, member: id % 2 ? member : null },
          ...{ address: id % 2 === 0 ? null : place, document: id % 4 === 0 ? null : place, bytes: Buffer.from([id % 2, 255]) },
        } as never),
      )
    }
    await em.flush()
    // What the types of JavaScript cannot hold.
    await runSql(fork(), 'update thing set big = big + id')
    if (dialect === 'postgresql') {
      await runSql(
        fork(),
        `update thing set at = at + id * interval '7 microseconds', "decimal" = 0.1 + id * 0.00000000000000000001`,
      )
      await runSql(
        fork(),
        `update thing set "double" = cast(case id when 1 then 'NaN' else 'Infinity' end as float8) where id < 4`,
      )
    } else {
      await runSql(fork(), 'update thing set "double" = 9e999 where id < 3')
    }
  })
  afterAll(async () => {
    await orm.close()
    await database.close()
  })

  /** The keys of all pages, one after the other. */
  const walk = async <Entity extends object>(
    entity: EntityName<Entity>,
    options: object,
    { first = 2, key = 'id', em = fork() } = {},
  ) => {
    const keys: unknown[] = []
    let after: string | null = null
    for (let pages = 0; pages < 12; pages++) {
      const page: Page<object> = await findPage<Entity>(em, entity, {
        ...(options as PageOptions<Entity>),
        ...{ first, after },
      })
      for (const item of page.items as unknown as Record<string, unknown>[]) {
        const value = item[key] as { id?: unknown }
        keys.push(typeof value === 'object' ? value.id : value)
      }
      after = page.nextCursor
      if (after === null) return keys
    }
    return ['endless', ...keys]
  }

  const both = (name: string) => [{ [name]: 'asc' }, { [name]: 'desc' }]
  it.each(
    [
      ...['float', 'double', 'decimal', 'big', 'at', 'day', 'flag', 'bytes', 'body', 'level', 'length', 'parent'].flatMap(both),
      ...[{ name: 1 }, { name: -1 }, { name: 'asc nulls first' }, { name: 'DESC NULLS LAST' }],
      ...[{ parent: { name: 'asc' } }, { parent: { name: 'desc nulls last' } }, { parent: { parent: { name: 'asc' } } }],
      ...[{ parent: { id: 'desc' } }, { parent: { id: 'desc nulls last' } }, { parent: { id: 'desc', name: 'asc' } }],
      ...[{ member: 'asc' }, { member: 'desc nulls last' }],
      ...[{ address: { city: 'asc' } }, { address: { city: 'desc', street: 'asc' } }, { notes: { rank: 'asc' } }],
      ...[{ document: { street: 'asc' } }, { document: { city: 'desc nulls last', street: 'asc' } }],
      ...[[{ name: 'asc' }, { flag: 'desc' }], [{ name: 'asc' }, { name: 'desc' }], { flag: 'asc', id: 'desc' }, {}],
    ].map((orderBy) => [JSON.stringify(orderBy), orderBy] as const),
  )('by %s hold every row once, in the order of one query', async (_name, orderBy) => {
    const orders = [orderBy].flat().flatMap((part) => Object.entries(part).map(([name, by]) => ({ [name]: by })))
    const key = orders.some((part) => 'id' in part) ? [] : [{ id: 'asc' }]
    const whole = await fork().find(Thing, {}, { orderBy: [...orders, ...key] as never })
    const expected = whole.map(({ id }) => id)
    for (const first of [1, 2, 3]) expect(await walk(Thing, { orderBy }, { first })).toEqual(expected)
  })

  const all = Array.from({ length: count }, (_, index) => index + 1)
  it('by fragments of SQL go on from the last row', async () => {
    const descending = [...all].sort((one, other) => (one % 2) - (other % 2) || other - one)
    const orderBy = [{ [raw((alias) => `${alias}.id % 2`)]: 'asc' }, { [raw((alias) => `1.5 - ${alias}.id`)]: 'asc' }]
    expect(await walk(Thing, { orderBy })).toEqual(descending)
    // As a name in a JSON document would need it.
    const escaped = raw((alias) => `case length('\\?') when 1 then -${alias}.id else ${alias}.id end`)
    expect(await walk(Thing, { orderBy: { [escaped]: 'asc' } })).toEqual([...all].reverse())
    await expect(walk(Thing, { orderBy: { [raw('id')]: 'up' } })).rejects.toMatchObject({ code: 'OPTION_INVALID' })
    const withValue = walk(Thing, { orderBy: { [raw('id % ?', [2])]: 'asc' } })
    await expect(withValue).rejects.toThrow('has parameters, which a cursor does not carry')
    await expect(walk(Thing, { orderBy: { [Symbol('id')]: 'asc' } })).rejects.toMatchObject({ code: 'OPTION_INVALID' })
  })

  it('of an entity whose key is a relation, or in part one', async () => {
    for (const entity of [Profile, Member] as EntityName<object>[]) {
      for (const orderBy of [{}, { person: 'asc' }, { person: { name: 'asc' } }, { person: { id: 'asc' } }]) {
        expect(await walk(entity, { orderBy }, { key: 'person' })).toEqual(all)
      }
    }
  })

  it('of an entity with tables of its parents', async () => {
    for (const entity of [Dog, Animal] as EntityName<object>[]) {
      expect(await walk(entity, { orderBy: { legs: 'desc' } })).toEqual(all)
    }
    expect(await walk(Dog, { orderBy: { tricks: 'desc', legs: 'asc' } })).toEqual([1, 3, 5, 7, 2, 4, 6])
  })

  it.each([['select-in'], ['joined']] as const)('with collections, loaded by %s, hold every row once', async (strategy) => {
    const loading = await openOrm({ url: database.url }, { entities, loadStrategy: strategy })
    try {
      const where = { visits: { id: { $gt: 0 } } }
      for (const options of [{ populate: ['visits'] }, { where }, { where, populate: ['visits'] }]) {
        const em = loading.em.fork()
        expect(await walk(Person, { ...options, orderBy: { name: 'desc' } }, { em })).toEqual(all)
        if (options.populate) expect((await em.findOneOrFail(Person, 3)).visits.length).toBe(3)
      }
    } finally {
      await loading.close()
    }
  })

  it('go on from the row of the database, and not from an entity that is older or was changed', async () => {
    const em = fork()
    const [older, edited] = await em.find(Thing, { id: [1, 2] }, { orderBy: { id: 'asc' }, populate: ['body'] as never })
    await runSql(fork(), "update thing set body = 'zz' where id = 1")
    if (edited !== undefined) edited.body = 'zzz'
    try {
      expect(await walk(Thing, { orderBy: { body: 'asc' } }, { first: 1, em })).toEqual([2, 3, 4, 5, 6, 7, 1])
      expect(older?.body).toBe('body 1')
      expect(edited?.body).toBe('zzz')
    } finally {
      await runSql(fork(), "update thing set body = 'body 1' where id = 1")
    }
  })

  it('take one query each, which is one range of an index, and leave nothing in the entities', async () => {
    const em = fork()
    const { nextCursor, items } = await findPage(em, Thing, { first: 2, orderBy: { at: 'asc' } })
    expect(Object.keys(items[0] ?? {}).filter((name) => name.startsWith('data_access'))).toEqual([])
    const [query] = await withQueries(async (queries) => {
      await findPage(em, Thing, { first: 2, orderBy: { at: 'asc' }, after: nextCursor })
      return queries.queries.length === 1 ? queries.queries : []
    })
    if (query === undefined) throw new Error('A page took another number of queries')
    const explain = dialect === 'postgresql' ? 'explain' : 'explain query plan'
    const plan = await fork().transactional(async (inner) => {
      if (dialect === 'postgresql') await runSql(inner, 'set local enable_seqscan = off')
      return JSON.stringify(await runSql(inner, `${explain} ${query.sql}`, query.params))
    })
    expect(plan).toMatch(
      dialect === 'postgresql' ? /Index Cond: .*ROW\(at, id\) > ROW/ : /SEARCH t0 USING INDEX thing_at_id_index \(at>\?\)/,
    )
  })

  it.each([
    [{ address: 'asc' }, 'orderBy.address has several values'],
    [{ parent: {} }, 'orderBy.parent is {}'],
    [{ name: { length: 'asc' } }, 'orderBy.name has nothing within'],
    [{ name: ['asc'] }, 'orderBy.name is an array'],
    [{ notes: { rank: 'up' } }, 'orderBy.notes.rank is "up"'],
    [{ notes: { 'rank?': 'asc' } }, 'orderBy.notes.rank? has a `?` in its name'],
    [{ parent: { nmae: 'asc' } }, 'orderBy.parent.nmae: Thing has no property `nmae`; did you mean `name`?'],
  ])('an order that is none, %j, is refused', async (orderBy, words) => {
    const page = findPage(fork(), Thing, { orderBy: orderBy as never })
    await expect(page).rejects.toMatchObject({ code: 'OPTION_INVALID', message: expect.stringContaining(words) })
  })

  it('of what has no key are refused', async () => {
    await expect(findPage(fork(), GhostSchema as never, {})).rejects.toMatchObject({
      code: 'OPTION_INVALID',
      message: expect.stringContaining('Ghost has no primary key'),
    })
  })

  if (dialect === 'postgresql') {
    it('end with an error, instead of never, where the text of a value is another value', async () => {
      const walking = fork().transactional(async (em) => {
        await runSql(em, 'set local extra_float_digits = -15')
        await walk(Thing, { where: { id: { $gt: 3 } }, orderBy: { double: 'desc' } }, { first: 1, em: em as never })
      })
      await expect(walking).rejects.toMatchObject({
        code: 'OPTION_INVALID',
        message: expect.stringContaining('double desc, id asc'),
      })
    })
  }
})
