import { type AnyEntity, defineEntity, p, Type } from '@mikro-orm/core'
import { expect, onTestFinished, test } from 'vitest'
import { createDataAccess } from '../../src/data-access.ts'
import { runSql } from '../../src/database/sql.ts'
import { openTestDatabase } from '../support/databases.ts'
import { listStatements } from '../support/sent-statements.ts'

/** Stored with a letter ahead. */
class Code extends Type<string, string> {
  override convertToDatabaseValue = (value: string) => `c${value}`
  override convertToJSValue = (value: string) => value.slice(1)
  override getColumnType = () => 'text'
}
const counted = { count: p.integer(), version: p.integer().version() }

const Text = defineEntity({ name: 'Text', properties: { id: p.string().primary(), ...counted } })
const Coded = defineEntity({ name: 'Coded', properties: { id: p.type(Code).primary(), ...counted } })
const Place = defineEntity({ name: 'Place', properties: { x: p.integer().primary(), y: p.integer().primary() } })
const Bin = defineEntity({
  name: 'Bin',
  properties: { place: () => p.manyToOne(Place).primary(), name: p.string().primary(), ...counted },
})
const Lamp = defineEntity({ name: 'Lamp', properties: { place: () => p.oneToOne(Place).primary(), ...counted } })
const Shared = defineEntity({ name: 'Shared', schema: 'shared', properties: { id: p.integer().primary(), ...counted } })
const Each = defineEntity({ name: 'Each', schema: '*', properties: { id: p.integer().primary(), ...counted } })
const Animal = defineEntity({ name: 'Animal', inheritance: 'tpt', properties: { id: p.integer().primary(), ...counted } })
const Dog = defineEntity({ name: 'Dog', extends: Animal, properties: { bark: p.string() } })

const columns = 'count integer not null default 1, version integer not null default 1'
const place = 'place_x integer, place_y integer'
const kinds = [
  [Text, `create table text (id text primary key, ${columns}); insert into text values ('a?'), ('b''$1')`],
  [Coded, `create table coded (id text primary key, ${columns}); insert into coded values ('ca'), ('cb')`],
  [
    Bin,
    `create table bin (${place}, name text, ${columns}, primary key (place_x, place_y, name)); insert into bin values (1, 1, 'a'), (1, 2, 'b')`,
  ],
  [Lamp, `create table lamp (${place}, ${columns}, primary key (place_x, place_y)); insert into lamp values (1, 1), (1, 2)`],
  [
    Shared,
    `create schema shared; create table shared.shared (id integer primary key, ${columns}); insert into shared.shared values (1), (2)`,
  ],
  [Each, `create table each (id integer primary key, ${columns}); insert into each values (1), (2)`],
  [
    Dog,
    `create table animal (id integer primary key, ${columns}); create table dog (id integer primary key references animal, bark text);
    insert into animal values (1), (2); insert into dog values (1, 'wow'), (2, 'wow')`,
  ],
] as const

// SQLite has one writer.
test.each(kinds)(
  'several versioned rows of the entity $name are locked, whatever their keys and tables',
  async (entity, tables) => {
    const statements = listStatements()
    onTestFinished(() => statements.end())
    const database = await openTestDatabase('postgresql')
    onTestFinished(() => database.close())
    const entities = kinds.map(([each]) => each)
    const data = await createDataAccess({
      modules: [{ name: 'kinds', entities: [...entities, Place, Animal] }],
      database: { url: database.url },
      cache: false,
    })
    onTestFinished(() => data.close())
    await data.migrate()
    for (const statement of tables.split(';')) await runSql(data.fork(), statement.replaceAll('?', '\\?'))

    const countUp = () =>
      data.unitOfWork(async ({ em }) => {
        for (const row of (await em.find(entity as never, {})) as (AnyEntity & { count: number })[]) row.count += 1
      })
    await countUp()
    await countUp()
    const locked = statements.sent.filter(({ text }) => text.endsWith('for no key update'))
    expect(locked.map(({ rows }) => rows)).toEqual([2, 2])
    expect(await data.fork().find(entity as never, {})).toMatchObject([
      { count: 3, version: 3 },
      { count: 3, version: 3 },
    ])
  },
)
