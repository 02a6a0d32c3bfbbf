import { setTimeout as delay } from 'node:timers/promises'
import type { EntityManager } from '@mikro-orm/core'
import { afterEach, describe, expect, it } from 'vitest'
import type { DataAccess } from '../../src/data-access.ts'
import { noteOrigin } from '../../src/database/failure.ts'
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

describe.each(dialects)('the em of a unit of work on %s', (dialect) => {
  const places = ['the unit', 'a nested unit', 'a savepoint of the application'] as const
  const begin: Record<string, (em: EntityManager) => Promise<unknown>> = {
    'begin()': (em) => em.begin(),
    'begin() inside its transaction': (em) => em.begin({ ctx: em.getTransactionContext() }),
    'begin() of a fork inside its transaction': (em) => em.fork().begin({ ctx: em.getTransactionContext() }),
  }
  it.each(places.flatMap((where) => Object.keys(begin).map((how) => [how, where])))(
    'stays in it: %s is refused in %s',
    async (how, where) => {
      const data = await openNotes(dialect)
      const refuse = async (em: EntityManager) => {
        await expect(begin[how as string]?.(em)).rejects.toMatchObject({ code: 'TRANSACTION_FORK' })
        em.create(Note, { id: 'a', title: 'a' })
        await em.flush()
      }
      const unit = data.unitOfWork(async ({ em, record }) => {
        if (where === 'the unit') await refuse(em)
        else if (where === 'a nested unit') await data.unitOfWork((nested) => refuse(nested.em))
        else await em.transactional(refuse)
        record(NoteTagged, 'a', 'a')
        throw new Error('no')
      })
      await expect(unit).rejects.toThrow('no')
      expect(await storedNotes(data)).toEqual({ rows: [], events: [] })
    },
  )

  it.each(['commit', 'rollback'] as const)('stays in it: %s() is refused, also in a nested unit', async (end) => {
    const data = await openNotes(dialect)
    const unit = data.unitOfWork(async ({ em }) => {
      await expect(em[end]()).rejects.toMatchObject({ code: 'TRANSACTION_ENDED' })
      await data.unitOfWork(async (nested) => {
        await expect(nested.em[end]()).rejects.toMatchObject({ code: 'TRANSACTION_ENDED' })
        nested.em.create(Note, { id: 'a', title: 'a' })
        await nested.em.flush()
      })
      em.create(Note, { id: 'b', title: 'b' })
      await em.flush()
      throw new Error('no')
    })
    await expect(unit).rejects.toThrow('no')
    expect((await storedNotes(data)).rows).toEqual([])
  })

  it('may begin one by hand when the unit is over', async () => {
    const data = await openNotes(dialect)
    const em = await data.unitOfWork(async (unit) => unit.em)
    await em.begin()
    em.create(Note, { id: 'a', title: 'a' })
    await em.flush()
    expect(await em.count(Note)).toBe(1)
    await em.rollback()
    expect((await storedNotes(data)).rows).toEqual([])
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

describe.each(dialects)('work of a unit that still runs when the unit is over, on %s', (dialect) => {
  const late = async (data: DataAccess, around: (run: () => Promise<unknown>) => Promise<unknown>) => {
    const over = Promise.withResolvers<void>()
    let branch: Promise<unknown> = Promise.resolve()
    await around(async () => {
      branch = over.promise.then(() =>
        data.unitOfWork(async ({ em, record }) => {
          record(NoteTagged, em.create(Note, { id: 'late', title: 'late' }), 'late')
        }),
      )
      branch.catch(() => {})
    })
    over.resolve()
    return branch
  }
  const no = () => Promise.reject(new Error('no'))

  it.each(['it was', 'a nested one was', 'the one around it was'])(
    'saves nothing by a unit of its own, when %s rolled back',
    async (which) => {
      const data = await openNotes(dialect)
      const inside = async (run: () => Promise<unknown>) => {
        if (which === 'it was') await expect(data.unitOfWork(() => run().then(no))).rejects.toThrow('no')
        else if (which === 'the one around it was') {
          await expect(data.unitOfWork(() => data.unitOfWork(run).then(no))).rejects.toThrow('no')
        } else await data.unitOfWork(() => expect(data.unitOfWork(() => run().then(no))).rejects.toThrow('no'))
      }
      await expect(late(data, inside)).rejects.toMatchObject({ code: 'TRANSACTION_ENDED' })
      expect(await storedNotes(data)).toEqual({ rows: [], events: [] })
    },
  )

  it('saves by a unit of its own, when it was committed', async () => {
    const data = await openNotes(dialect)
    await late(data, (run) => data.unitOfWork(() => data.unitOfWork(run)))
    expect(await storedNotes(data)).toEqual({ rows: ['late'], events: ['late'] })
  })

  it('saves nothing in the attempt after its own', async () => {
    const data = await openNotes(dialect)
    const begun = Promise.withResolvers<void>()
    let branch: Promise<unknown> = Promise.resolve()
    await data.unitOfWork(async ({ em, attempt }) => {
      if (attempt === 1) {
        branch = begun.promise.then(() =>
          data.unitOfWork(async (unit) => void unit.em.create(Note, { id: 'late', title: 'late' })),
        )
        throw noteOrigin(Object.assign(new Error('conflict'), { code: '40001' }), em.getConnection('write'))
      }
      begun.resolve()
      await expect(branch).rejects.toMatchObject({ code: 'TRANSACTION_ENDED' })
    })
    expect((await storedNotes(data)).rows).toEqual([])
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
