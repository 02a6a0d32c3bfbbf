import type { SqlEntityManager } from '@mikro-orm/sql'
import { afterEach, describe, expect, it } from 'vitest'
import { dialects } from '../support/databases.ts'
import { closeNotes, openNotes, storedNotes } from '../support/notes-access.ts'
import { Note, NoteTagged } from '../support/notes-module.ts'

afterEach(closeNotes)

describe.each(dialects)('a nested unit that failed and could not be rolled back, on %s', (dialect) => {
  it('takes the outer unit with it, also when its error is caught: its rows are still there, and its events not', async () => {
    const data = await openNotes(dialect)
    let throws = true
    data.orm.em.getEventManager().registerSubscriber({
      async beforeTransactionRollback() {
        if (throws) throw new Error('of the application')
      },
    })
    const outer = data.unitOfWork(async ({ em }) => {
      em.create(Note, { id: 'outer', title: 'outer' })
      const nested = data.unitOfWork(async (unit) => {
        unit.record(NoteTagged, unit.em.create(Note, { id: 'inner', title: 'inner' }), 'a')
        await unit.em.flush()
        throw new Error('of the work')
      })
      await expect(nested).rejects.toThrow()
      throws = false
    })
    await expect(outer).rejects.toMatchObject({ code: 'TRANSACTION_ABORTED' })
    expect(await storedNotes(data)).toEqual({ rows: [], events: [] })
  })

  it('takes the outer unit with it, where its savepoint was released before the failure', async () => {
    const data = await openNotes(dialect)
    let throws = true
    data.orm.em.getEventManager().registerSubscriber({
      async afterTransactionCommit() {
        if (throws) throw new Error('of the application')
      },
    })
    const outer = data.unitOfWork(async () => {
      const nested = data.unitOfWork(async ({ em, record }) => {
        record(NoteTagged, em.create(Note, { id: 'inner', title: 'inner' }), 'a')
      })
      await expect(nested).rejects.toThrow()
      throws = false
    })
    await expect(outer).rejects.toMatchObject({ code: 'TRANSACTION_ABORTED' })
    expect(await storedNotes(data)).toEqual({ rows: [], events: [] })
  })
})

describe('a nested unit that released its savepoint by hand', () => {
  it('takes the outer unit with it', async () => {
    const data = await openNotes('sqlite')
    const outer = data.unitOfWork(async () => {
      const nested = data.unitOfWork(async ({ em, record }) => {
        record(NoteTagged, em.create(Note, { id: 'inner', title: 'inner' }), 'a')
        await em.flush()
        for (const name of ['trx2', 'trx1']) await (em as SqlEntityManager).execute(`release savepoint ${name}`).catch(() => {})
        throw new Error('of the work')
      })
      await expect(nested).rejects.toThrow()
    })
    await expect(outer).rejects.toMatchObject({ code: 'TRANSACTION_ABORTED' })
    expect(await storedNotes(data)).toEqual({ rows: [], events: [] })
  })
})
