import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { runSql } from '../../src/database/sql.ts'
import { dialects } from '../support/databases.ts'
import { closeNotes, openNotes, storedNotes } from '../support/notes-access.ts'
import { Note, NoteTagged } from '../support/notes-module.ts'

afterEach(closeNotes)

describe.each(dialects)('a unit of work in a transaction begun by hand, on %s', (dialect) => {
  it('runs its hooks at the commit, which may use the database at once', async () => {
    const data = await openNotes(dialect)
    const em = data.fork()
    await em.begin()
    const seen: unknown[] = []
    await data.unitOfWork(
      async (unit) => {
        unit.em.create(Note, { id: 'a', title: 'a' })
        unit.afterCommit(async () => {
          seen.push(await data.fork().count(Note))
          await data.unitOfWork(async (later) => void later.em.create(Note, { id: 'b', title: 'b' }))
        })
      },
      { em },
    )
    const start = performance.now()
    await em.commit()
    expect(seen).toEqual([1])
    expect((await storedNotes(data)).rows).toEqual(['a', 'b'])
    // To wait for its own transaction takes ten.
    expect(performance.now() - start).toBeLessThan(8000)
  })
})

describe.each(dialects)('a unit of work and a flush whose hook opens a savepoint, on %s', (dialect) => {
  it('do not wait for each other', async () => {
    const data = await openNotes(dialect)
    await data.unitOfWork(async ({ em }) => {
      let once = true
      em.getEventManager().registerSubscriber({
        async beforeCreate() {
          if (!once) return
          once = false
          await delay(20)
          await em.transactional(async (inner) => void (await runSql(inner, 'select 1')))
        },
      })
      em.create(Note, { id: 'a', title: 'a' })
      await Promise.all([em.flush(), data.unitOfWork(async (unit) => void unit.em.create(Note, { id: 'b', title: 'b' }))])
    })
    expect((await storedNotes(data)).rows).toEqual(['a', 'b'])
  })
})

describe('a unit of work on postgresql', () => {
  it('says of a nested unit that it cannot be kept, since it caught an error of the database; the outer one goes on', async () => {
    const data = await openNotes('postgresql')
    await data.unitOfWork(async ({ em, record }) => {
      em.create(Note, { id: 'a', title: 'a' })
      const nested = data.unitOfWork(async (unit) => {
        await runSql(unit.em, 'select * from nowhere').catch(() => {})
        unit.record(NoteTagged, 'x', 'lost')
      })
      await expect(nested).rejects.toMatchObject({ code: 'TRANSACTION_ABORTED' })
      const flushing = data.unitOfWork(async (unit) => {
        await runSql(unit.em, 'select * from nowhere').catch(() => {})
        unit.em.create(Note, { id: 'b', title: 'b' })
      })
      await expect(flushing).rejects.toMatchObject({ code: 'TRANSACTION_ABORTED' })
      record(NoteTagged, 'a', 'kept')
    })
    expect(await storedNotes(data)).toEqual({ rows: ['a'], events: ['kept'] })
  })

  it('does not join a transaction of the application whose connection was lost', async () => {
    const data = await openNotes('postgresql')
    const lost = Promise.withResolvers<void>()
    let late: Promise<unknown> | undefined
    const transaction = data.fork().transactional(async (em) => {
      const [session] = await runSql<{ pid: number }>(em, 'select pg_backend_pid() as pid')
      late = lost.promise.then(() => data.unitOfWork(async (unit) => void unit.em.create(Note, { id: 'a', title: 'late' })))
      await runSql(data.fork(), 'select pg_terminate_backend(?)', [session?.pid])
      await delay(50)
      await runSql(em, 'select 1')
    })
    await expect(transaction).rejects.toMatchObject({ code: 'DATABASE_UNREACHABLE' })
    lost.resolve()
    await late
    expect((await storedNotes(data)).rows).toEqual(['late'])
  })
})
