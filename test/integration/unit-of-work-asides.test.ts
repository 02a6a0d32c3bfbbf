import { defineEntity, type EntityManager, p, TransactionPropagation } from '@mikro-orm/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { openTestDatabase, type TestDatabase } from '../support/databases.ts'
import { closeNotes, openNotes, storedNotes } from '../support/notes-access.ts'
import { Note, NoteTagged, notes } from '../support/notes-module.ts'

const RemarkSchema = defineEntity({
  name: 'Remark',
  tableName: 'remarks',
  properties: { id: p.string().primary(), note: () => p.manyToOne(Note) },
})
class Remark extends RemarkSchema.class {}
RemarkSchema.setClass(Remark)

const beside = [TransactionPropagation.REQUIRES_NEW, TransactionPropagation.NOT_SUPPORTED] as const

/** On SQLite, which has one connection, nothing can be written beside a transaction. */
describe.each(beside)('work beside a unit by %s, on postgresql', (propagation) => {
  let database: TestDatabase
  let data: DataAccess

  beforeEach(async () => {
    database = await openTestDatabase('postgresql')
    data = await createDataAccess({ modules: [notes, { name: 'remarks', entities: [Remark] }], database: { url: database.url } })
    await data.migrate()
    await data.orm.schema.update()
    await data.unitOfWork(async ({ em }) => void em.create(Note, { id: 'a', title: 'old' }))
  })
  afterEach(async () => {
    await data.close()
    await database.close()
    await closeNotes()
  })

  it.each(['the unit', 'what is beside it'])(
    'leaves what the unit edits meanwhile to the unit, when %s fails',
    async (failing) => {
      const unit = data.unitOfWork(async ({ em, record }) => {
        const note = await em.findOneOrFail(Note, 'a')
        const [begun, edited] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
        const aside = em.transactional(
          async (own) => {
            begun.resolve()
            await edited.promise
            own.create(Note, { id: 'b', title: 'beside' })
            await own.flush()
            if (failing !== 'the unit') throw new Error('beside')
          },
          { propagation },
        )
        await begun.promise
        note.title = 'new'
        record(NoteTagged, em.create(Note, { id: 'c', title: 'created' }), 'told')
        edited.resolve()
        if (failing === 'the unit') {
          await aside
          throw new Error('the unit')
        }
        await expect(aside).rejects.toThrow('beside')
      })
      if (failing === 'the unit') await expect(unit).rejects.toThrow('the unit')
      else await unit
      const own = propagation === TransactionPropagation.NOT_SUPPORTED ? ['beside'] : []
      expect(await storedNotes(data)).toEqual(
        failing === 'the unit' ? { rows: ['old', 'beside'], events: [] } : { rows: ['new', ...own, 'created'], events: ['told'] },
      )
    },
  )

  it('may change a row that the unit has edited and not yet written, and the unit keeps its edit', async () => {
    await data.unitOfWork(async ({ em, record }) => {
      const note = await em.findOneOrFail(Note, 'a')
      note.title = 'new'
      record(NoteTagged, note, 'new')
      const theirs = await em.transactional(
        async (own) => {
          const same = await own.findOneOrFail(Note, 'a')
          expect(same.title).toBe('old')
          same.count = 5
          return same
        },
        { propagation },
      )
      expect(theirs).not.toBe(note)
      expect(note).toMatchObject({ title: 'new', count: 0 })
    })
    expect(await data.fork().findOneOrFail(Note, 'a')).toMatchObject({ title: 'new', count: 5 })
    expect((await storedNotes(data)).events).toEqual(['new'])
  })

  it('takes no edit of the unit away by a delete that is rolled back', async () => {
    await data.unitOfWork(async ({ em, record }) => {
      const note = await em.findOneOrFail(Note, 'a')
      note.title = 'new'
      record(NoteTagged, note, 'new')
      const aside = em.transactional(
        (own) =>
          own.transactional(async (inner) => {
            inner.remove(await inner.findOneOrFail(Note, 'a'))
            await inner.flush()
            throw new Error('no')
          }),
        { propagation },
      )
      await expect(aside).rejects.toThrow('no')
    })
    expect(await storedNotes(data)).toEqual({ rows: ['new'], events: ['new'] })
  })

  const relations: Record<string, (em: EntityManager) => Promise<Note>> = {
    edited: async (em) => Object.assign(await em.findOneOrFail(Note, 'a'), { title: 'the unit’s' }),
    made: async (em) => em.create(Note, { id: 'b', title: 'the unit’s' }),
  }
  it.each(Object.keys(relations))('may not write an entity that the unit has %s, by a relation to it', async (how) => {
    await data.unitOfWork(async ({ em, record }) => {
      const note = await (relations[how] as (typeof relations)[string])(em)
      record(NoteTagged, note, 'the unit’s')
      const aside = em.transactional(async (own) => void own.create(Remark, { id: 'r', note }), { propagation })
      await expect(aside).rejects.toMatchObject({ code: 'TRANSACTION_FORK' })
    })
    const stored = await storedNotes(data)
    expect(stored.rows).toContain('the unit’s')
    expect(stored.events).toEqual(['the unit’s'])
    expect(await data.fork().count(Remark)).toBe(0)
  })

  it('may relate to a row of the unit by reference, or to an entity that is not edited', async () => {
    await data.unitOfWork(async ({ em }) => {
      const note = await em.findOneOrFail(Note, 'a')
      await em.transactional(
        async (own) => {
          own.create(Remark, { id: 'r', note })
          own.create(Remark, { id: 's', note: own.getReference(Note, 'a') })
        },
        { propagation },
      )
      note.title = 'new'
    })
    expect((await storedNotes(data)).rows).toEqual(['new'])
    expect(await data.fork().count(Remark)).toBe(2)
  })
})

describe('a unit in NOT_SUPPORTED, on postgresql', () => {
  afterEach(closeNotes)

  it('is its own also inside the unit of another data access', async () => {
    const [data, other] = [await openNotes('postgresql'), await openNotes('postgresql')]
    const unit = data.unitOfWork(async ({ em }) => {
      await em.transactional(
        async () => {
          await other.unitOfWork(async () => {
            await data.unitOfWork(async (inner) => {
              inner.record(NoteTagged, 'a', 'its own')
              // This one stands in a transaction again.
              await data
                .unitOfWork(async ({ record }) => {
                  record(NoteTagged, 'a', 'lost')
                  throw new Error('nested')
                })
                .catch(() => {})
            })
          })
        },
        { propagation: TransactionPropagation.NOT_SUPPORTED },
      )
      throw new Error('no')
    })
    await expect(unit).rejects.toThrow('no')
    expect((await storedNotes(data)).events).toEqual(['its own'])
  })

  it('is that of its own ORM where another one works beside', async () => {
    const [data, other] = [await openNotes('postgresql'), await openNotes('postgresql')]
    const unit = other.unitOfWork(async () => {
      await data.unitOfWork(({ em }) =>
        em.transactional(() => other.unitOfWork(async ({ record }) => void record(NoteTagged, 'a', 'rolled back')), {
          propagation: TransactionPropagation.NOT_SUPPORTED,
        }),
      )
      throw new Error('no')
    })
    await expect(unit).rejects.toThrow('no')
    expect((await storedNotes(other)).events).toEqual([])
  })
})
