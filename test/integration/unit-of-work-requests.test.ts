import { RequestContext, TransactionPropagation } from '@mikro-orm/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { DataAccess } from '../../src/data-access.ts'
import { runSql } from '../../src/database/sql.ts'
import { dialects } from '../support/databases.ts'
import { closeNotes, openNotes, storedNotes } from '../support/notes-access.ts'
import { Note, NoteTagged } from '../support/notes-module.ts'

afterEach(closeNotes)

describe.each(dialects)('inside a request on %s', (dialect) => {
  let data: DataAccess
  beforeEach(async () => {
    data = await openNotes(dialect)
    await data.unitOfWork(async ({ em }) => {
      em.create(Note, { id: 'a', title: 'ours', count: 1 })
      em.create(Note, { id: 'b', title: 'theirs', count: 2 })
    })
  })
  /** A request of the tenant whose rows have this count. */
  const inRequest = <Result>(count: number, run: () => Promise<Result>) =>
    RequestContext.create(data.orm.em, () => {
      data.orm.em.addFilter({ name: 'tenant', cond: (args) => ({ count: args.count }), entity: [Note] })
      data.orm.em.setFilterParams('tenant', { count })
      return run()
    })

  it('a unit and a fork see no other rows than the request does, in each attempt', async () => {
    const seen: unknown[] = []
    await inRequest(1, async () => {
      await data.unitOfWork(async ({ em, attempt, cached }) => {
        expect(await em.findOne(Note, 'b')).toBeNull()
        seen.push(...(await em.findAll(Note)).map(({ title }) => title), attempt)
        if (attempt === 1) throw data.orm.driver.convertException(Object.assign(new Error('conflict'), { code: '40001' }))
        expect(cached).toBeTypeOf('function')
        await data.unitOfWork(async (nested) => expect(await nested.em.findOne(Note, 'b')).toBeNull())
      })
      seen.push(...(await data.fork().findAll(Note)).map(({ title }) => title))
    })
    expect(seen).toEqual(['ours', 1, 'ours', 2, 'ours'])
    expect((await storedNotes(data)).rows).toEqual(['ours', 'theirs'])
  })

  it('a unit has the session of the request, and its schema', async () => {
    await RequestContext.create(
      data.orm.em,
      async () => {
        await data.unitOfWork(async ({ em }) => {
          if (dialect === 'sqlite') expect(em.schema).toBe('main')
          else expect(await runSql(em, "select current_setting('app.tenant') as tenant")).toEqual([{ tenant: '7' }])
        })
      },
      dialect === 'sqlite' ? { schema: 'main' } : { session: { variables: { 'app.tenant': '7' } } },
    )
  })

  it('a unit takes neither the entities nor the edits of the request with it', async () => {
    await inRequest(1, async () => {
      const note = await data.orm.em.findOneOrFail(Note, 'a')
      note.title = 'pending'
      data.orm.em.create(Note, { id: 'c', title: 'pending too', count: 1 })
      await data.unitOfWork(async ({ em, record }) => {
        expect(em.getUnitOfWork().getIdentityMap().values()).toEqual([])
        record(NoteTagged, 'a', 'unit')
      })
      expect(note.title).toBe('pending')
    })
    expect(await storedNotes(data)).toEqual({ rows: ['ours', 'theirs'], events: ['unit'] })
  })

  it('a unit of another data access is of its own ORM', async () => {
    const other = await openNotes(dialect)
    await inRequest(1, async () => {
      await other.unitOfWork(async ({ em }) => expect(em.getDriver()).toBe(other.orm.driver))
      expect(other.fork().getDriver()).toBe(other.orm.driver)
    })
  })

  it('a unit that has joined its em has nested ones, of its own and given the em of the unit', async () => {
    await RequestContext.create(data.orm.em, () =>
      data.unitOfWork(
        async ({ em }) => {
          await data.unitOfWork(async (nested) => {
            ;(await nested.em.findOneOrFail(Note, 'a')).title = 'nested'
          })
          await data.unitOfWork(async (nested) => void nested.record(NoteTagged, 'a', 'given'), { em })
          await em.transactional((own) => data.unitOfWork(async ({ record }) => void record(NoteTagged, 'a', 'own'), { em: own }))
          if (dialect === 'sqlite') return
          await em.transactional(() => data.unitOfWork(async ({ record }) => void record(NoteTagged, 'a', 'beside')), {
            propagation: TransactionPropagation.REQUIRES_NEW,
          })
        },
        { em: data.orm.em },
      ),
    )
    const events = dialect === 'sqlite' ? ['given', 'own'] : ['beside', 'given', 'own']
    const stored = await storedNotes(data)
    expect({ rows: stored.rows, events: stored.events.toSorted() }).toEqual({ rows: ['nested', 'theirs'], events })
  })
})
