import { setTimeout as delay } from 'node:timers/promises'
import type { EntityManager } from '@mikro-orm/core'
import type { SqlEntityManager } from '@mikro-orm/sql'
import { afterEach, describe, expect, it } from 'vitest'
import type { DataAccess } from '../../src/data-access.ts'
import { runSql } from '../../src/database/sql.ts'
import { dialects } from '../support/databases.ts'
import { closeNotes, openNotes, storedNotes } from '../support/notes-access.ts'
import { Note, NoteTagged } from '../support/notes-module.ts'

const nothing = { rows: [], events: [] }

/** The part of Kysely that these tests use. */
interface Kysely {
  with(name: string, statement: (kysely: Kysely) => unknown): Kysely
  insertInto(table: string): {
    values(row: object): { execute(): Promise<unknown>; compile(): object; returning(column: string): unknown }
  }
  executeQuery(query: object): Promise<unknown>
  selectFrom(table: string): { selectAll(): { execute(): Promise<unknown[]> } }
}
type Transactional = (em: EntityManager) => Promise<void>
const kyselyOf = (em: EntityManager) => (em as unknown as { getKysely(): Kysely }).getKysely()

afterEach(closeNotes)

describe.each(dialects)('an outer em while a nested unit is open, on %s', (dialect) => {
  const writes: Record<string, (em: EntityManager) => Promise<unknown>> = {
    'a bulk insert': (em) => em.insert(Note, { id: 'a', title: 'a', count: 0 }),
    'a bulk update': (em) => em.nativeUpdate(Note, { id: 'a' }, { title: 'b' }),
    'a bulk delete': (em) => em.nativeDelete(Note, {}),
    SQL: (em) => runSql(em, "-- mine\n insert into notes (id, title) values ('a', 'a')"),
    'SQL that begins with a query': (em) =>
      runSql(em, "with one as (select 'a' as a) insert into notes (id, title) select a, a from one"),
    Kysely: (em) => kyselyOf(em).insertInto('notes').values({ id: 'a', title: 'a' }).execute(),
    'a query of Kysely that was compiled before': (em) => {
      const kysely = kyselyOf(em)
      return kysely.executeQuery(kysely.insertInto('notes').values({ id: 'a', title: 'a' }).compile())
    },
    'a stream': (em) =>
      (em as SqlEntityManager).qb(Note).insert({ id: 'a', title: 'a', count: 0 }).returning('id').stream().next(),
    // SQLite has none that would write.
    ...(dialect === 'postgresql' && {
      'a `with` of Kysely': (em: EntityManager) =>
        kyselyOf(em)
          .with('made', (kysely) => kysely.insertInto('notes').values({ id: 'a', title: 'a' }).returning('id'))
          .selectFrom('made')
          .selectAll()
          .execute(),
    }),
  }

  it.each(Object.keys(writes))('may not write by %s, and its unit fails', async (how) => {
    const data = await openNotes(dialect)
    const open = Promise.withResolvers<void>()
    const end = Promise.withResolvers<void>()
    const outer = data.unitOfWork(async ({ em, record }) => {
      const nested = data.unitOfWork(async () => {
        open.resolve()
        await end.promise
        throw new Error('nested')
      })
      await open.promise
      await expect(writes[how]?.(em)).rejects.toMatchObject({ code: 'TRANSACTION_FORK' })
      record(NoteTagged, 'a', 'caught')
      end.resolve()
      await expect(nested).rejects.toThrow('nested')
    })
    await expect(outer).rejects.toMatchObject({ code: 'TRANSACTION_FORK' })
    expect(await storedNotes(data)).toEqual(nothing)
  })

  it('may read', async () => {
    const data = await openNotes(dialect)
    const open = Promise.withResolvers<void>()
    const end = Promise.withResolvers<void>()
    await data.unitOfWork(async ({ em }) => {
      em.create(Note, { id: 'a', title: 'a' })
      const nested = data.unitOfWork(async (unit) => {
        unit.em.create(Note, { id: 'b', title: 'b' })
        open.resolve()
        await end.promise
      })
      await open.promise
      expect(await em.count(Note)).toBe(1)
      expect(await runSql(em, 'with n as (select * from notes) select * from n')).toHaveLength(1)
      expect(await kyselyOf(em).selectFrom('notes').selectAll().execute()).toHaveLength(1)
      const named = kyselyOf(em).with('n', (kysely) => kysely.selectFrom('notes').selectAll())
      expect(await named.selectFrom('n').selectAll().execute()).toHaveLength(1)
      end.resolve()
      await nested
    })
    expect((await storedNotes(data)).rows).toEqual(['a', 'b'])
  })

  it('lets a savepoint wait for a nested unit beside it, and writes what is pending in neither', async () => {
    const data = await openNotes(dialect)
    await data.unitOfWork(async ({ em }) => void em.create(Note, { id: 'edited', title: 'old' }))
    await data.unitOfWork(async ({ em }) => {
      const edited = await em.findOneOrFail(Note, 'edited')
      const begun = Promise.withResolvers<void>()
      const nested = data.unitOfWork(async (unit) => {
        unit.em.create(Note, { id: 'nested', title: 'nested' })
        begun.resolve()
        await delay(50)
        throw new Error('nested')
      })
      const caught = expect(nested).rejects.toThrow('nested')
      await begun.promise
      await em.transactional(async (inner) => void inner.create(Note, { id: 'savepoint', title: 'savepoint' }))
      await caught
      // Beside a savepoint of the application's own that is rolled back.
      const open = Promise.withResolvers<void>()
      const failing = em.transactional(async () => {
        open.resolve()
        await delay(50)
        throw new Error('savepoint')
      })
      const failed = expect(failing).rejects.toThrow('savepoint')
      await open.promise
      edited.title = 'new'
      await em.transactional(async (inner) => void inner.create(Note, { id: 'later', title: 'later' }))
      await failed
    })
    expect((await storedNotes(data)).rows.sort()).toEqual(['later', 'new', 'savepoint'])
  })

  it('may do what writes no rows', async () => {
    const data = await openNotes(dialect)
    const open = Promise.withResolvers<void>()
    const end = Promise.withResolvers<void>()
    await data.unitOfWork(async ({ em }) => {
      const nested = data.unitOfWork(async () => {
        open.resolve()
        await end.promise
      })
      await open.promise
      await runSql(em, "with one as (select 'please update it set ' as a) select a from one")
      if (dialect === 'postgresql') {
        for (const statement of ['notify someone', "set local application_name = 'x'", 'explain select 1'])
          await runSql(em, statement)
      }
      end.resolve()
      await nested
    })
  })

  it('lets savepoints that begin at once take turns, and units with them', async () => {
    const data = await openNotes(dialect)
    const seen: string[] = []
    const write = async (em: EntityManager, id: string, fails: boolean) => {
      seen.push(`begin ${id}`)
      em.create(Note, { id, title: id })
      await em.flush()
      await runSql(em, 'select 1')
      seen.push(`end ${id}`)
      if (fails) throw new Error(id)
    }
    const outcomes = await data.unitOfWork(async ({ em }) =>
      Promise.allSettled([
        em.transactional((inner) => write(inner, 'a', false)),
        data.unitOfWork((unit) => write(unit.em, 'b', true)),
        em.transactional((inner) => write(inner, 'c', true)),
        em.transactional((inner) => write(inner, 'd', false)),
      ]),
    )
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected', 'fulfilled'])
    expect(seen.filter((_, index) => index % 2 === 0).map((begin) => begin.replace('begin', 'end'))).toEqual(
      seen.filter((_, index) => index % 2 === 1),
    )
    expect((await storedNotes(data)).rows).toEqual(['a', 'd'])
  })

  const forks: Record<string, (em: EntityManager, data: DataAccess, work: Transactional) => Promise<unknown>> = {
    'a unit given a fork that keeps the transaction': (em, data, work) =>
      data.unitOfWork((unit) => work(unit.em), { em: em.fork({ keepTransactionContext: true }) }),
    'a savepoint of a fork that keeps the transaction': (em, _, work) =>
      em.fork({ keepTransactionContext: true }).transactional(work),
    'a savepoint of a fork that is given the transaction': (em, data, work) =>
      data.fork().transactional(work, { ctx: em.getTransactionContext() }),
  }
  it.each(Object.keys(forks))('lets take turns with a unit in the same transaction: %s', async (how) => {
    const data = await openNotes(dialect)
    const outcomes = await data.unitOfWork(async ({ em, record }) => {
      const begun = Promise.withResolvers<void>()
      const failing = data.unitOfWork(async (unit) => {
        unit.record(NoteTagged, unit.em.create(Note, { id: 'a', title: 'lost' }), 'lost')
        await unit.em.flush()
        begun.resolve()
        await delay(50)
        throw new Error('nested')
      })
      await begun.promise
      const beside = forks[how]?.(em, data, async (inner) => {
        inner.create(Note, { id: 'b', title: 'kept' })
        await inner.flush()
        await delay(100)
      })
      const settled = await Promise.allSettled([failing, beside])
      record(NoteTagged, 'b', 'kept')
      return settled
    })
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'fulfilled'])
    expect(await storedNotes(data)).toEqual({ rows: ['kept'], events: ['kept'] })
  })

  it('may not be a fork that keeps its transaction and is given to a unit inside the nested one', async () => {
    const data = await openNotes(dialect)
    await data.unitOfWork(async ({ em }) => {
      const fork = em.fork({ keepTransactionContext: true })
      await data.unitOfWork(async () => {
        const inner = data.unitOfWork(async () => {}, { em: fork })
        await expect(inner).rejects.toMatchObject({ code: 'TRANSACTION_FORK' })
      })
    })
  })

  it('lets a savepoint of the application stand in another one on the same em', async () => {
    const data = await openNotes(dialect)
    await data.unitOfWork(async ({ em }) => {
      await em.transactional(async () => {
        await em.transactional(async (inner) => void inner.create(Note, { id: 'a', title: 'a' }))
      })
    })
    expect((await storedNotes(data)).rows).toEqual(['a'])
  })

  it('shares nothing with another transaction that is given the same options', async () => {
    const data = await openNotes(dialect)
    const options = {}
    const failing = data.unitOfWork(async ({ em }) => {
      await em.transactional(async (own) => void own.create(Note, { id: 'a', title: 'rolled back' }), options)
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    await data.fork().transactional(async (own) => void own.create(Note, { id: 'b', title: 'kept' }), options)
    expect((await storedNotes(data)).rows).toEqual(['kept'])
  })
})
