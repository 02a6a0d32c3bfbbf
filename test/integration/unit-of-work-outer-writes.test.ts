import { setTimeout as delay } from 'node:timers/promises'
import type { EntityManager } from '@mikro-orm/core'
import { afterEach, describe, expect, it } from 'vitest'
import { runSql } from '../../src/database/sql.ts'
import { dialects } from '../support/databases.ts'
import { closeNotes, openNotes, storedNotes } from '../support/notes-access.ts'
import { Note, NoteTagged } from '../support/notes-module.ts'

const nothing = { rows: [], events: [] }

/** The part of Kysely that these tests use. */
interface Kysely {
  insertInto(table: string): { values(row: object): { execute(): Promise<unknown> } }
  selectFrom(table: string): { selectAll(): { execute(): Promise<unknown[]> } }
}
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

  it('lets a savepoint of the application stand in another one on the same em', async () => {
    const data = await openNotes(dialect)
    await data.unitOfWork(async ({ em }) => {
      await em.transactional(async () => {
        await em.transactional(async (inner) => void inner.create(Note, { id: 'a', title: 'a' }))
      })
    })
    expect((await storedNotes(data)).rows).toEqual(['a'])
  })
})
