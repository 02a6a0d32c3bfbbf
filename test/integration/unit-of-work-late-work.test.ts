import { setTimeout as delay } from 'node:timers/promises'
import type { EntityManager } from '@mikro-orm/core'
import { afterEach, describe, expect, it } from 'vitest'
import { runSql } from '../../src/database/sql.ts'
import { dialects } from '../support/databases.ts'
import { closeNotes, openNotes, storedNotes } from '../support/notes-access.ts'
import { Note, NoteTagged } from '../support/notes-module.ts'

afterEach(closeNotes)

type Write = (em: EntityManager, data: Awaited<ReturnType<typeof openNotes>>) => Promise<unknown>

const late = { id: 'late', title: 'late', count: 0 }
const writes: Record<string, Write> = {
  'a flush': async (em) => {
    em.create(Note, late)
    await em.flush()
  },
  'a bulk insert': (em) => em.insert(Note, late),
  SQL: (em) => runSql(em, "insert into notes (id, title) values ('late', 'late')"),
  'a savepoint': (em) => em.transactional(async (inner) => void inner.create(Note, late)),
  'a unit that is given its em': (em, data) =>
    data.unitOfWork(async (unit) => unit.record(NoteTagged, unit.em.create(Note, late), 'late'), { em }),
  Kysely: (em) => kyselyOf(em).insertInto('notes').values({ id: 'late', title: 'late' }).execute(),
}

/** The part of Kysely that these tests use. */
interface Kysely {
  insertInto(table: string): { values(row: object): { execute(): Promise<unknown> } }
}
const kyselyOf = (em: EntityManager) => (em as unknown as { getKysely(): Kysely }).getKysely()

describe.each(dialects)('work of a nested unit that was rolled back, on %s', (dialect) => {
  it.each(Object.keys(writes))('which still runs writes nothing into the outer one: %s', async (how) => {
    const data = await openNotes(dialect)
    await data.unitOfWork(async ({ em, record }) => {
      const over = Promise.withResolvers<void>()
      let branch: Promise<unknown> | undefined
      const nested = data.unitOfWork(async (unit) => {
        branch = over.promise.then(() => writes[how]?.(unit.em, data))
        throw new Error('no')
      })
      await expect(nested).rejects.toThrow('no')
      over.resolve()
      await expect(branch).rejects.toMatchObject({ code: 'TRANSACTION_ENDED' })
      record(NoteTagged, em.create(Note, { id: 'outer', title: 'outer' }), 'outer')
    })
    expect(await storedNotes(data)).toEqual({ rows: ['outer'], events: ['outer'] })
  })

  it('is refused in the middle of a flush as well', async () => {
    const data = await openNotes(dialect)
    await data.unitOfWork(async ({ em }) => {
      em.create(Note, { id: 'outer', title: 'outer' })
      await em.flush()
      let flushing: Promise<unknown> | undefined
      const nested = data.unitOfWork(async (unit) => {
        // Two statements at least.
        ;(await unit.em.findOneOrFail(Note, 'outer')).title = 'changed'
        unit.em.create(Note, late)
        flushing = unit.em.flush()
        flushing.catch(() => {})
        await new Promise(setImmediate)
        throw new Error('no')
      })
      await expect(nested).rejects.toThrow('no')
      await Promise.allSettled([flushing])
    })
    expect((await storedNotes(data)).rows).toEqual(['outer'])
  })

  it('does not keep the outer one waiting for what it asks of another em', async () => {
    const data = await openNotes(dialect)
    const over = Promise.withResolvers<void>()
    await data.unitOfWork(async () => {
      let branch: Promise<unknown> | undefined
      const nested = data.unitOfWork(async () => {
        branch = over.promise.then(() => data.fork().count(Note))
        throw new Error('no')
      })
      await expect(nested).rejects.toThrow('no')
      over.resolve()
      // SQLite has one connection, which the outer unit holds.
      if (dialect === 'sqlite') await expect(branch).rejects.toMatchObject({ code: 'TRANSACTION_FORK' })
      else expect(await branch).toBe(0)
    })
  })

  it('leaves a kept one as it is: what it loaded still loads what it lacks', async () => {
    const data = await openNotes(dialect)
    await data.unitOfWork(async ({ em }) => void em.create(Note, { id: 'a', title: 'a' }))
    await data.unitOfWork(async () => {
      const inner = await data.unitOfWork(async (unit) => unit.em)
      await delay(1)
      expect(await inner.count(Note)).toBe(1)
    })
  })
})
