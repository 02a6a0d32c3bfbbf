import { createRequire } from 'node:module'
import { type EntityManager, TransactionPropagation } from '@mikro-orm/core'
import { afterEach, describe, expect, it } from 'vitest'
import { runSql } from '../../src/database/sql.ts'
import { endsTransaction, writesRows } from '../../src/unit-of-work/statement-kinds.ts'
import { dialects } from '../support/databases.ts'
import { closeNotes, openNotes, storedNotes } from '../support/notes-access.ts'
import { Note, NoteTagged } from '../support/notes-module.ts'

/** The Kysely of MikroORM, which is no dependency of ours. */
const { sql, CompiledQuery } = createRequire(createRequire(import.meta.url).resolve('@mikro-orm/sql'))('kysely') as {
  sql: SqlTag
  CompiledQuery: { raw(sql: string): object }
}

afterEach(closeNotes)

describe.each(dialects)('SQL of the application in a unit of work on %s', (dialect) => {
  it.each(['commit', ' ROLLBACK;', '/* now */ end', '-- now\nabort', 'commit and chain'])('may not be: %s', async (sql) => {
    const data = await openNotes(dialect)
    await data.unitOfWork(async ({ em, record }) => {
      record(NoteTagged, em.create(Note, { id: 'a', title: 'a' }), 'a')
      await em.flush()
      await expect(runSql(em, sql)).rejects.toMatchObject({ code: 'TRANSACTION_ENDED' })
    })
    expect(await storedNotes(data)).toEqual({ rows: ['a'], events: ['a'] })
  })

  it('may open and roll back a savepoint', async () => {
    const data = await openNotes(dialect)
    await data.unitOfWork(async ({ em }) => {
      await runSql(em, 'savepoint mine')
      await runSql(em, "insert into notes (id, title) values ('a', 'commit; rollback')")
      await runSql(em, 'rollback to savepoint mine')
      await runSql(em, "insert into notes (id, title) values ('b', 'end')")
    })
    expect((await storedNotes(data)).rows).toEqual(['end'])
  })
})

describe.each(dialects)('SQL of Kysely in a unit of work on %s', (dialect) => {
  it.each([
    ['in its text', () => sql`commit`],
    ['as SQL in it', () => sql`${sql.raw('commit')}`],
    ['deep in it', () => sql`/* now */ ${sql`${sql.raw('roll')}${sql.raw('back')}`}`],
    ['compiled before', () => ({ execute: (kysely: Kysely) => kysely.executeQuery(CompiledQuery.raw('commit')) })],
  ])('may not end its transaction, %s', async (_, end) => {
    const data = await openNotes(dialect)
    await data.unitOfWork(async ({ em, record }) => {
      record(NoteTagged, em.create(Note, { id: 'a', title: 'a' }), 'a')
      await em.flush()
      await expect(end().execute(kyselyOf(em))).rejects.toMatchObject({ code: 'TRANSACTION_ENDED' })
      await sql`insert into ${sql.table('notes')} (id, title) values (${'b'}, ${sql.raw("'commit'")})`.execute(kyselyOf(em))
    })
    expect(await storedNotes(data)).toEqual({ rows: ['a', 'commit'], events: ['a'] })
  })
})

describe.each(dialects)('the transaction that Kysely has of a unit of work on %s', (dialect) => {
  const ways: Record<string, (kysely: Kysely) => Kysely | Promise<Kysely>> = {
    itself: (kysely) => kysely,
    'without its plugins': (kysely) => kysely.withoutPlugins(),
    'behind a savepoint': (kysely) => kysely.savepoint('mine').execute(),
  }
  const cases = Object.keys(ways).flatMap((way) => (['commit', 'rollback'] as const).map((end) => [way, end] as const))
  it.each(cases)('may not be ended by it, %s: %s', async (way, end) => {
    const data = await openNotes(dialect)
    await data.unitOfWork(async ({ em, record }) => {
      record(NoteTagged, em.create(Note, { id: 'a', title: 'a' }), 'a')
      await em.flush()
      const kysely = await ways[way]?.(kyselyOf(em))
      await expect(async () => kysely?.[end]().execute()).rejects.toMatchObject({ code: 'TRANSACTION_ENDED' })
    })
    expect(await storedNotes(data)).toEqual({ rows: ['a'], events: ['a'] })
  })
})

describe.each(dialects)('a nested em that outlives its root transaction on %s', (dialect) => {
  it('reads and writes nothing, neither by a stream nor by Kysely', async () => {
    const data = await openNotes(dialect)
    const leaked = await data.unitOfWork(() =>
      data.unitOfWork(async ({ em }) => {
        await em.count(Note)
        return { em, kysely: kyselyOf(em) }
      }),
    )
    const over = { code: 'TRANSACTION_ENDED' }
    await expect(leaked.kysely.insertInto('notes').values({ id: 'k', title: 'k' }).execute()).rejects.toMatchObject(over)
    await expect(
      leaked.kysely.withoutPlugins().insertInto('notes').values({ id: 'k', title: 'k' }).execute(),
    ).rejects.toMatchObject(over)
    await expect(leaked.kysely.executeQuery(CompiledQuery.raw('select 1'))).rejects.toMatchObject(over)
    await expect(first(leaked.em)).rejects.toMatchObject(over)
    await expect(firstOfKysely(leaked.em)).rejects.toMatchObject(over)
    expect((await storedNotes(data)).rows).toEqual([])
  })
})

describe.each(dialects)('a stream in a unit of work on %s', (dialect) => {
  const opened = async () => {
    const data = await openNotes(dialect)
    await data.unitOfWork(async ({ em }) => {
      for (let index = 0; index < 300; index++) em.create(Note, { id: `${index}`, title: `${index}` })
    })
    return data
  }

  const places = ['the unit', 'a nested unit', 'a savepoint of the application']
  const kinds = {
    'em.stream()': first,
    Kysely: firstOfKysely,
    'Kysely without its plugins': firstOfBareKysely,
    'a query of Kysely with a plugin': firstOfPluggedKysely,
  }
  const left = places.flatMap((where) => Object.entries(kinds).map(([kind, begin]) => [where, kind, begin] as const))
  it.each(left)('ends with %s that left it open: %s', async (where, _kind, begin) => {
    const data = await opened()
    const leave = async (em: EntityManager) => expect((await begin(em)).value).toMatchObject({ title: expect.any(String) })
    await data.unitOfWork(async ({ em, record }) => {
      if (where === 'the unit') await leave(em)
      else if (where === 'a nested unit') await data.unitOfWork((unit) => leave(unit.em))
      else await em.transactional(leave)
      record(NoteTagged, 'a', 'told')
    })
    expect((await storedNotes(data)).events).toEqual(['told'])
  })

  const joining = [TransactionPropagation.REQUIRED, TransactionPropagation.MANDATORY, TransactionPropagation.SUPPORTS]
  it.each(joining)('goes on behind em.transactional() that joins the unit by %s', async (propagation) => {
    const data = await opened()
    let rows = 0
    await data.unitOfWork(async ({ em }) => {
      for await (const note of em.stream(Note, {})) {
        await em.transactional(async () => void note.title, { propagation })
        rows++
      }
    })
    expect(rows).toBe(300)
  })

  it('gives its connection back when the unit fails', async () => {
    const data = await opened()
    const failing = data.unitOfWork(async ({ em }) => {
      await first(em)
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    expect((await data.stats()).pool).toMatchObject({ inUse: 0 })
  })
})

/** The first row of a stream, which is neither finished nor left. */
function first(em: EntityManager) {
  return em.stream(Note, {})[Symbol.asyncIterator]().next()
}

function firstOfKysely(em: EntityManager) {
  return kyselyOf(em).selectFrom('notes').selectAll().stream()[Symbol.asyncIterator]().next()
}

function firstOfBareKysely(em: EntityManager) {
  // A schema is a plugin too, put in front of the others.
  const schema = em.getPlatform().getDefaultSchemaName() ?? 'main'
  return kyselyOf(em).withoutPlugins().withSchema(schema).selectFrom('notes').selectAll().stream(1)[Symbol.asyncIterator]().next()
}

function firstOfPluggedKysely(em: EntityManager) {
  const plugin = {
    transformQuery: ({ node }: { node: object }) => node,
    transformResult: async ({ result }: { result: object }) => result,
  }
  return kyselyOf(em).selectFrom('notes').withPlugin(plugin).selectAll().stream(1)[Symbol.asyncIterator]().next()
}

/** The parts of Kysely that these tests use. */
interface Sql {
  execute(kysely: Kysely): Promise<unknown>
}
interface SqlTag {
  (fragments: TemplateStringsArray, ...parameters: unknown[]): Sql
  raw(text: string): Sql
  table(name: string): Sql
}
interface Selection {
  withPlugin(plugin: object): Selection
  selectAll(): { stream(chunk?: number): AsyncIterable<unknown> }
}
interface Kysely {
  commit(): { execute(): Promise<unknown> }
  rollback(): { execute(): Promise<unknown> }
  savepoint(name: string): { execute(): Promise<Kysely> }
  withoutPlugins(): Kysely
  withSchema(name: string): Kysely
  executeQuery(query: object): Promise<unknown>
  selectFrom(table: string): Selection
  insertInto(table: string): { values(row: object): { execute(): Promise<unknown> } }
}

function kyselyOf(em: EntityManager): Kysely {
  return (em as unknown as { getKysely(): Kysely }).getKysely()
}

describe('the kinds of statements', () => {
  it.each([
    ['rollback to mine', false],
    ['rollback work to savepoint mine', false],
    ['ROLLBACK TRANSACTION', true],
    ["prepare transaction 'x'", true],
    ['prepare q as select 1', false],
    ['select 1; commit', false],
    ['ending', false],
    ['release savepoint mine', false],
  ])('%s ends the transaction: %s', (sql, ends) => expect(endsTransaction(sql)).toBe(ends))

  it.each([
    ['select 1', false],
    ['(select 1) union (select 2)', false],
    ['/* why */ select 1', false],
    ['with a as (select 1) select * from a for update', false],
    ['with a as (delete from notes returning *) select * from a', true],
    ['with a as (update notes as n set count = 1 returning *) select * from a', true],
    ['insert into notes default values', true],
    ['truncate notes', true],
    ['savepoint mine', true],
    ['explain select 1', false],
  ])('%s writes: %s', (sql, writes) => expect(writesRows(sql)).toBe(writes))
})
