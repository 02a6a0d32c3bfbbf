import { defineEntity, type EntityManager, p } from '@mikro-orm/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { noteOrigin } from '../../src/database/failure.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../support/databases.ts'
import { storedNotes } from '../support/notes-access.ts'
import { Note, NoteTagged, notes } from '../support/notes-module.ts'

const LabelSchema = defineEntity({ name: 'Label', tableName: 'labels', properties: { id: p.string().primary() } })
class Label extends LabelSchema.class {}
LabelSchema.setClass(Label)

const EntrySchema = defineEntity({
  name: 'Entry',
  tableName: 'entries',
  properties: {
    id: p.integer().primary().autoincrement(),
    text: p.string().unique(),
    labels: () => p.manyToMany(Label).owner(),
    parent: () => p.manyToOne(Entry).nullable(),
  },
})
class Entry extends EntrySchema.class {}
EntrySchema.setClass(Entry)

/** Its key is that of an entry, and a part of its own. */
const LineSchema = defineEntity({
  name: 'Line',
  tableName: 'lines',
  properties: { entry: () => p.manyToOne(Entry).primary(), number: p.integer().primary(), text: p.string() },
})
class Line extends LineSchema.class {}
LineSchema.setClass(Line)

/** Its key is that of an entry. */
const AnnexSchema = defineEntity({
  name: 'Annex',
  tableName: 'annexes',
  properties: { entry: () => p.oneToOne(Entry).owner().primary(), text: p.string() },
})
class Annex extends AnnexSchema.class {}
AnnexSchema.setClass(Annex)

const MarkSchema = defineEntity({
  name: 'Mark',
  tableName: 'marks',
  properties: {
    id: p.integer().primary().autoincrement(),
    line: () => p.manyToOne(Line).nullable(),
    annex: () => p.manyToOne(Annex).nullable(),
  },
})
class Mark extends MarkSchema.class {}
MarkSchema.setClass(Mark)

describe.each(dialects)('what was made outside a unit of work, on %s', (dialect) => {
  let database: TestDatabase
  let data: DataAccess

  beforeEach(async () => {
    database = await openTestDatabase(dialect)
    const entries = { name: 'entries', entities: [Entry, Label, Line, Annex, Mark] }
    data = await createDataAccess({ modules: [notes, entries], database: { url: database.url } })
    await data.migrate()
    await data.orm.schema.update()
  })
  afterEach(async () => {
    await data.close()
    await database.close()
  })

  const conflict = (em: EntityManager) =>
    noteOrigin(Object.assign(new Error('conflict'), { code: '40001' }), em.getConnection('write'))
  const made = {
    'by new': () => Object.assign(new Note(), { id: 'n', title: 'note', count: 0 }),
    'by another em': () => data.fork().create(Note, { id: 'n', title: 'note' }, { persist: false }),
  }
  const stored = { rows: ['note'], events: ['made'] }

  it.each(['by new', 'by another em'] as const)('is inserted by each attempt, when it was made %s', async (how) => {
    const note = made[how]()
    await data.unitOfWork(async ({ em, record, attempt }) => {
      em.persist(note)
      record(NoteTagged, 'n', 'made')
      await em.flush()
      if (attempt < 3) throw conflict(em)
    })
    expect(await storedNotes(data)).toEqual(stored)
  })

  it('is inserted by the next attempt also after a flush that failed half way', async () => {
    const note = made['by new']()
    await data.unitOfWork(async ({ em, record, attempt }) => {
      if (attempt === 1) {
        const refusing = { afterCreate: () => Promise.reject(conflict(em)) }
        em.getEventManager().registerSubscriber(refusing)
      }
      em.persist(note)
      record(NoteTagged, 'n', 'made')
    })
    expect(await storedNotes(data)).toEqual(stored)
  })

  it('is inserted by a nested unit that is tried again by its caller', async () => {
    const note = made['by new']()
    await data.unitOfWork(async () => {
      const save = (fails: boolean) =>
        data.unitOfWork(async ({ em, record }) => {
          em.persist(note)
          record(NoteTagged, 'n', 'made')
          await em.flush()
          if (fails) throw new Error('only the savepoint')
        })
      await expect(save(true)).rejects.toThrow('only the savepoint')
      await save(false)
    })
    expect(await storedNotes(data)).toEqual(stored)
  })

  it('gets a key and the rows of its relations anew', async () => {
    const maker = data.fork()
    const parent = maker.create(Entry, { text: 'parent' }, { persist: false })
    const child = maker.create(Entry, { text: 'child', parent, labels: [{ id: 'l' }] }, { persist: false })
    const keys: unknown[] = []
    await data.unitOfWork(async ({ em, attempt }) => {
      em.persist(child)
      keys.push(child.id, parent.id)
      // What others insert meanwhile takes the keys that were rolled back, on SQLite.
      if (attempt === 2) await em.insert(Entry, { text: 'meanwhile' })
      await em.flush()
      if (attempt === 1) throw conflict(em)
    })
    const read = await data.fork().find(Entry, { text: 'child' }, { populate: ['labels', 'parent'] })
    expect(read.map((entry) => [entry.parent?.text, entry.labels.getIdentifiers()])).toEqual([['parent', ['l']]])
    expect(keys).toEqual([undefined, undefined, undefined, undefined])
  })

  it.each(['line', 'annex'] as const)('refers to the key that its %s takes from an entry that is made anew', async (to) => {
    const maker = data.fork()
    const entry = maker.create(Entry, { text: 'ours' }, { persist: false })
    const line = maker.create(Line, { entry, number: 1, text: 'ours' }, { persist: false })
    const annex = maker.create(Annex, { entry, text: 'ours' }, { persist: false })
    const mark = maker.create(Mark, to === 'line' ? { line } : { annex }, { persist: false })
    await data.unitOfWork(async ({ em, attempt }) => {
      if (attempt === 2) {
        // Others take the keys that were rolled back, on SQLite.
        const other = em.create(Entry, { text: 'theirs' })
        em.create(Line, { entry: other, number: 1, text: 'theirs' })
        em.create(Annex, { entry: other, text: 'theirs' })
        await em.flush()
      }
      em.persist(mark)
      await em.flush()
      if (attempt === 1) throw conflict(em)
    })
    const [read] = await data.fork().findAll(Mark, { populate: ['line', 'annex'] })
    expect(read?.[to]?.text).toBe('ours')
  })

  it('is inserted by the next attempt also after a savepoint of the application that was rolled back', async () => {
    const note = made['by new']()
    await data.unitOfWork(async ({ em, record, attempt }) => {
      record(NoteTagged, 'n', 'made')
      await em.transactional(async (own) => {
        own.persist(note)
        await own.flush()
        if (attempt === 1) throw conflict(em)
      })
    })
    expect(await storedNotes(data)).toEqual(stored)
  })

  it.each(['around', 'in'])(
    'is inserted by a nested unit %s a savepoint of the application, tried again by its caller',
    async (place) => {
      const note = made['by new']()
      await data.unitOfWork(async ({ em: outer }) => {
        const save = (em: EntityManager, fails: boolean) =>
          em.transactional(async (own) => {
            own.persist(note)
            await own.flush()
            if (fails) throw new Error('only the savepoint')
          })
        const nested = (fails: boolean) =>
          data.unitOfWork(async ({ em, record }) => {
            record(NoteTagged, 'n', 'made')
            await save(em, fails)
          })
        const within = (fails: boolean) => outer.transactional(() => nested(fails))
        const attempt = place === 'around' ? nested : within
        await expect(attempt(true)).rejects.toThrow('only the savepoint')
        await attempt(false)
      })
      expect(await storedNotes(data)).toEqual(stored)
    },
  )

  const failAfterFlush = async (em: EntityManager) => {
    const work = async (unit: { readonly em: EntityManager }) => {
      await unit.em.flush()
      throw new Error('no')
    }
    await expect(data.unitOfWork(work, { em })).rejects.toThrow('no')
  }

  it('is new again when the unit fails, so that the em which it joined can save it', async () => {
    const em = data.fork()
    em.persist(made['by new']())
    await failAfterFlush(em)
    await em.flush()
    expect((await storedNotes(data)).rows).toEqual(['note'])
  })

  it('is removed by the unit that joins the em in which its removal was asked for', async () => {
    await data.unitOfWork(async ({ em }) => void em.persist(made['by new']()))
    const em = data.fork()
    em.remove(await em.findOneOrFail(Note, 'n'))
    await data.unitOfWork(async ({ record }) => void record(NoteTagged, 'n', 'removed'), { em })
    expect(await storedNotes(data)).toEqual({ rows: [], events: ['removed'] })
    await em.flush()
  })

  it('is still to be removed when that unit fails', async () => {
    await data.unitOfWork(async ({ em }) => void em.persist(made['by new']()))
    const em = data.fork()
    em.remove(await em.findOneOrFail(Note, 'n'))
    await failAfterFlush(em)
    expect((await storedNotes(data)).rows).toHaveLength(1)
    await em.flush()
    expect((await storedNotes(data)).rows).toEqual([])
  })
})
