import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { createDataAccess } from '../../src/data-access.ts'
import { runSql } from '../../src/database/sql.ts'
import { hasErrorCode } from '../../src/errors.ts'
import { DomainEvent } from '../../src/outbox/event/domain-event.ts'
import { dialects, openTestDatabase } from '../support/databases.ts'
import { Note, NoteTagged, notes } from '../support/notes-module.ts'
import { unitGround } from '../support/unit-ground.ts'

/** What a program does that forgets an `await`, or ends a transaction behind the back of its unit. */
describe.each(dialects)('a unit of work on %s keeps rows and events together', (dialect) => {
  const ground = unitGround(dialect)

  const stored = async () => ({
    rows: (await ground.data.fork().findAll(Note, { orderBy: { id: 'asc' } })).map(({ id }) => id),
    events: (await ground.data.fork().findAll(DomainEvent, { orderBy: { sequence: 'asc' } })).map(({ payload }) => payload),
  })
  /** A nested unit that has begun, stays open until it is let go, then writes a row and an event. */
  const openNested = async (id: string) => {
    const begun = Promise.withResolvers<void>()
    const gate = Promise.withResolvers<void>()
    const unit = ground.data.unitOfWork(async ({ em, record }) => {
      begun.resolve()
      record(NoteTagged, id, id)
      await gate.promise
      em.create(Note, { id, title: id })
      await em.flush()
    })
    unit.catch(() => {})
    await begun.promise
    return { unit, letGo: () => gate.resolve() }
  }

  it('when it throws while a nested unit is still running', async () => {
    const failing = ground.data.unitOfWork(async () => {
      const { letGo } = await openNested('a')
      setImmediate(letGo)
      throw new Error('the outer one')
    })
    await expect(failing).rejects.toThrow('the outer one')
    expect(await stored()).toEqual({ rows: [], events: [] })
  })

  it('when a savepoint throws while one inside it is still running', async () => {
    await ground.data.unitOfWork(async ({ em, record }) => {
      record(NoteTagged, 'a', 'outer')
      em.create(Note, { id: 'a', title: 'outer' })
      const failing = ground.data.unitOfWork(async (unit) => {
        unit.record(NoteTagged, 'b', 'savepoint')
        const { letGo } = await openNested('c')
        setImmediate(letGo)
        throw new Error('the savepoint')
      })
      await expect(failing).rejects.toThrow('the savepoint')
    })
    expect(await stored()).toEqual({ rows: ['a'], events: ['outer'] })
  })

  it('when it returns while a nested unit is still running, which it waits for', async () => {
    await ground.data.unitOfWork(async () => {
      const { letGo } = await openNested('a')
      setImmediate(letGo)
    })
    expect(await stored()).toEqual({ rows: ['a'], events: ['a'] })
  })

  it("when an application's transaction is to commit while a unit inside is running", async () => {
    let nested: Awaited<ReturnType<typeof openNested>> | undefined
    const transaction = ground.data.fork().transactional(async (em) => {
      em.create(Note, { id: 'a', title: 'a' })
      nested = await openNested('b')
    })
    await expect(transaction).rejects.toSatisfy((error) => hasErrorCode(error, 'TRANSACTION_ENDED'))
    nested?.letGo()
    await expect(nested?.unit).rejects.toSatisfy((error) => hasErrorCode(error, 'TRANSACTION_ENDED'))
    expect(await stored()).toEqual({ rows: [], events: [] })
  })

  it('when a unit is started while the commit is on its way', async () => {
    let late: Promise<unknown> | undefined
    await ground.data.unitOfWork(async ({ em, record }) => {
      record(NoteTagged, em.create(Note, { id: 'a', title: 'a' }), 'a')
      em.getEventManager().registerSubscriber({
        beforeTransactionCommit: async () => {
          late = ground.data.unitOfWork(
            async (unit) => void unit.record(NoteTagged, unit.em.create(Note, { id: 'b', title: 'b' }), 'b'),
          )
          late.catch(() => {})
          await delay(10)
        },
      })
    })
    await expect(late).rejects.toMatchObject({ code: 'TRANSACTION_ENDED' })
    expect(await stored()).toEqual({ rows: ['a'], events: ['a'] })
  })

  it('when its em is flushed while a nested unit is open, even if the refusal is caught', async () => {
    const unit = ground.data.unitOfWork(async ({ em, record }) => {
      const nested = await openNested('b')
      record(NoteTagged, em.create(Note, { id: 'a', title: 'a' }), 'a')
      await expect(em.flush()).rejects.toMatchObject({ code: 'TRANSACTION_FORK' })
      nested.letGo()
      await nested.unit
    })
    await expect(unit).rejects.toMatchObject({ code: 'TRANSACTION_FORK' })
    expect(await stored()).toEqual({ rows: [], events: [] })
  })

  it('when its work commits or rolls back by itself', async () => {
    const committed = ground.data.unitOfWork(async ({ em, record }) => {
      record(NoteTagged, em.create(Note, { id: 'a', title: 'a' }), 'a')
      await em.commit()
    })
    await expect(committed).rejects.toSatisfy((error) => hasErrorCode(error, 'TRANSACTION_ENDED'))
    const rolledBack = ground.data.unitOfWork(async ({ em, record }) => {
      record(NoteTagged, 'a', 'a')
      await em.rollback()
      em.create(Note, { id: 'a', title: 'a' })
    })
    await expect(rolledBack).rejects.toMatchObject({ code: 'TRANSACTION_ENDED' })
    expect(await stored()).toEqual({ rows: [], events: [] })
  })

  it('when it is given the em that the unit around it has joined', async () => {
    const em = ground.data.fork()
    const unit = ground.data.unitOfWork(
      () => ground.data.unitOfWork(async ({ record }) => void record(NoteTagged, 'a', 'a'), { em }),
      { em },
    )
    await expect(unit).rejects.toMatchObject({ code: 'TRANSACTION_FORK' })
    expect(await stored()).toEqual({ rows: [], events: [] })
  })

  it('when two units join one em at once, which take turns', async () => {
    const em = ground.data.fork()
    em.create(Note, { id: 'a', title: 'a' })
    const order: string[] = []
    const join = (name: string) =>
      ground.data.unitOfWork(
        async ({ record }) => {
          order.push(`${name} begins`)
          await delay(5)
          record(NoteTagged, name, name)
          order.push(`${name} ends`)
        },
        { em },
      )
    await Promise.all([join('x'), join('y')])
    expect(order).toEqual(['x begins', 'x ends', 'y begins', 'y ends'])
    expect(await stored()).toEqual({ rows: ['a'], events: ['x', 'y'] })
  })

  it('when a transaction begun by hand commits or rolls back around it', async () => {
    for (const end of ['rollback', 'commit'] as const) {
      const em = ground.data.fork()
      await em.begin()
      await ground.data.unitOfWork(
        async (unit) => void unit.record(NoteTagged, unit.em.create(Note, { id: end, title: end }), end),
        {
          em,
        },
      )
      await em[end]()
    }
    expect(await stored()).toEqual({ rows: ['commit'], events: ['commit'] })
  })

  it('when what a nested unit left behind starts a unit after the commit, which is a new one', async () => {
    const gate = Promise.withResolvers<void>()
    let left: Promise<unknown> | undefined
    await ground.data.unitOfWork(async () => {
      await ground.data.unitOfWork(async () => {
        left = gate.promise.then(() => ground.data.unitOfWork(async ({ record }) => void record(NoteTagged, 'a', 'late')))
      })
    })
    gate.resolve()
    await left
    await ground.data.fork().transactional((outer) =>
      outer.transactional(() =>
        ground.data.unitOfWork(async ({ afterCommit }) => {
          afterCommit(() => ground.data.unitOfWork(async ({ record }) => void record(NoteTagged, 'a', 'hook')))
        }),
      ),
    )
    expect(await stored()).toEqual({ rows: [], events: ['late', 'hook'] })
    expect(ground.logger.errors).toEqual([])
  })

  it('when the transaction around it takes no savepoints, which it refuses', async () => {
    const options = { ignoreNestedTransactions: true }
    const unit = ground.data
      .fork()
      .transactional(() => ground.data.unitOfWork(async ({ record }) => void record(NoteTagged, 'a', 1)), options)
    await expect(unit).rejects.toMatchObject({ code: 'OPTION_INVALID' })
    expect(await stored()).toEqual({ rows: [], events: [] })
  })

  it('when it starts a nested unit while the data access waits for it to close', async () => {
    const gate = Promise.withResolvers<void>()
    const unit = ground.data.unitOfWork(async () => {
      await gate.promise
      return ground.data.unitOfWork(async () => 'nested')
    })
    const closing = ground.data.close()
    gate.resolve()
    expect(await unit).toBe('nested')
    await closing
  })

  it.each([undefined, null, Number.NaN])('when the id of an aggregate is %s, which it refuses', async (id) => {
    const unit = ground.data.unitOfWork(async ({ record }) => void record(NoteTagged, id as never, 1))
    await expect(unit).rejects.toMatchObject({ code: 'EVENT_AGGREGATE_INVALID' })
  })
})

describe('a unit of work on postgresql', () => {
  it('does not take for a commit what PostgreSQL rolled back, after a failed statement whose error was caught', async () => {
    const database = await openTestDatabase('postgresql')
    const data = await createDataAccess({ modules: [notes], database: { url: database.url } })
    await data.migrate()
    const hooks: string[] = []
    const unit = data.unitOfWork(async ({ em, afterCommit }) => {
      em.create(Note, { id: 'a', title: 'a' })
      await em.flush()
      afterCommit(() => void hooks.push('never'))
      await runSql(em, 'insert into nowhere values (1)').catch(() => {})
    })
    await expect(unit).rejects.toSatisfy((error) => hasErrorCode(error, 'TRANSACTION_ABORTED'))
    expect(hooks).toEqual([])
    expect((await data.stats()).pool.inUse).toBe(0)
    await data.close()
    await database.close()
  })
})
