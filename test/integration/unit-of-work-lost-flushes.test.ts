import { defineEntity, type EntityManager, p } from '@mikro-orm/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../support/databases.ts'
import { closeNotes, openNotes, storedNotes } from '../support/notes-access.ts'
import { Note, NoteTagged, notes } from '../support/notes-module.ts'

/** Without a key MikroORM knows a new entity by its list of what to persist alone. */
const EntrySchema = defineEntity({
  name: 'Entry',
  tableName: 'entries',
  properties: { id: p.integer().primary().autoincrement(), text: p.string().unique() },
})
class Entry extends EntrySchema.class {}
EntrySchema.setClass(Entry)

describe.each(dialects)('a unit of work on %s in which a flush failed whose error was caught', (dialect) => {
  let database: TestDatabase
  let data: DataAccess

  beforeEach(async () => {
    database = await openTestDatabase(dialect)
    const entries = { name: 'entries', entities: [Entry] }
    data = await createDataAccess({ modules: [notes, entries], database: { url: database.url } })
    await data.migrate()
    await data.orm.schema.update()
    await data.unitOfWork(async ({ em }) => {
      em.create(Entry, { text: 'taken' })
      em.create(Note, { id: 'n', title: 'old' })
    })
  })
  afterEach(async () => {
    await data.close()
    await database.close()
  })

  const stored = async () => {
    const entries = await data.fork().findAll(Entry, { orderBy: { id: 'asc' } })
    return { ...(await storedNotes(data)), entries: entries.map(({ text }) => text) }
  }
  const unchanged = { rows: ['old'], events: [], entries: ['taken'] }
  const refuse = (em: EntityManager) =>
    em.getEventManager().registerSubscriber({
      beforeCreate: ({ entity }) => {
        if ((entity as Entry).text === 'refused') throw new Error('the hook refuses')
      },
    })
  const flushing: Record<string, (em: EntityManager) => Promise<unknown>> = {
    'by itself': (em) => em.flush(),
    'before a query': (em) => em.findAll(Entry),
    'before a nested unit': () => data.unitOfWork(async () => {}),
    'before a savepoint of the application': (em) => em.transactional(async () => {}),
  }
  const cases = Object.keys(flushing).flatMap((when) => ['refused', 'taken'].map((text) => [when, text] as const))

  it.each(cases)('saves no event without its row: %s, %s', async (when, text) => {
    let lost: unknown
    const unit = data.unitOfWork(async ({ em, record }) => {
      refuse(em)
      em.remove(await em.findOneOrFail(Note, 'n'))
      record(NoteTagged, 'n', 'removed')
      em.create(Entry, { text: 'added' })
      record(NoteTagged, 'n', 'added')
      em.create(Entry, { text })
      lost = await flushing[when]?.(em).catch((error: unknown) => error)
    })
    const error = await unit.catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'TRANSACTION_ABORTED' })
    expect(lost).toBeInstanceOf(Error)
    expect((error as Error).cause).toBe(lost)
    expect(await stored()).toEqual(unchanged)
  })

  it('is alone rolled back, when it is a nested one', async () => {
    await data.unitOfWork(async ({ record }) => {
      record(NoteTagged, 'n', 'kept')
      const nested = data.unitOfWork(async (unit) => {
        unit.em.create(Entry, { text: 'taken' })
        unit.record(NoteTagged, 'n', 'lost')
        await unit.em.flush().catch(() => {})
      })
      await expect(nested).rejects.toMatchObject({ code: 'TRANSACTION_ABORTED' })
    })
    expect(await stored()).toEqual({ ...unchanged, events: ['kept'] })
  })

  it('fails the transaction of the application around it, whose edits it was to save', async () => {
    const around = data.fork().transactional(async (em) => {
      em.create(Entry, { text: 'added' })
      refuse(em)
      em.create(Entry, { text: 'refused' })
      await expect(data.unitOfWork(async () => {})).rejects.toThrow('the hook refuses')
      await data.unitOfWork(async ({ record }) => void record(NoteTagged, 'n', 'added'))
    })
    await expect(around).rejects.toMatchObject({ code: 'TRANSACTION_ABORTED' })
    expect(await stored()).toEqual(unchanged)
  })

  it('commits, when the flush was asked for in a hook of another one, which goes on', async () => {
    let refused = 0
    await data.unitOfWork(async ({ em, record }) => {
      em.getEventManager().registerSubscriber({
        beforeCreate: async () => {
          await em.flush().catch(() => refused++)
        },
      })
      em.create(Entry, { text: 'added' })
      record(NoteTagged, 'n', 'added')
      await em.flush()
    })
    expect(refused).toBe(1)
    expect(await stored()).toEqual({ rows: ['old'], events: ['added'], entries: ['taken', 'added'] })
  })

  const queued: Record<string, (em: EntityManager) => Promise<unknown>> = {
    'a nested unit': () => data.unitOfWork(async () => {}),
    'a savepoint of the application': (em) => em.transactional(async () => {}),
    'a query': (em) => em.findAll(Note),
    'a flush': (em) => em.flush(),
  }
  it.each(Object.keys(queued))('fails also %s that was to flush behind it, and waits for nothing', async (what) => {
    let outcomes: PromiseSettledResult<unknown>[] = []
    const unit = data.unitOfWork(async ({ em, record }) => {
      em.create(Entry, { text: 'taken' })
      em.create(Note, { id: 'm', title: 'new' })
      record(NoteTagged, 'm', 'lost')
      outcomes = await Promise.allSettled([em.flush(), queued[what]?.(em)])
    })
    await expect(unit).rejects.toMatchObject({ code: 'TRANSACTION_ABORTED' })
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    expect(await stored()).toEqual(unchanged)
  })
})

describe.each(dialects)('flushes of one em at once, on %s', (dialect) => {
  afterEach(closeNotes)

  it('all fail with the first, outside a unit too, and the em works again when it is cleared', async () => {
    const data = await openNotes(dialect)
    const em = data.fork()
    em.create(Note, { id: 'a', title: 'a' })
    await em.flush()
    em.create(Note, { id: 'b', title: 'a' })
    const first = em.flush()
    em.create(Note, { id: 'c', title: 'c' })
    const [one, two, three] = await Promise.allSettled([first, em.flush(), em.flush()])
    expect(one).toMatchObject({ status: 'rejected' })
    // MikroORM has forgotten what they were to write.
    expect([two, three]).toEqual([one, one])
    em.clear()
    em.create(Note, { id: 'd', title: 'd' })
    await Promise.all([em.flush(), em.flush()])
    expect((await storedNotes(data)).rows).toEqual(['a', 'd'])
  })

  it('write what was made and removed while the first ran', async () => {
    const data = await openNotes(dialect)
    await data.unitOfWork(async ({ em }) => void em.create(Note, { id: 'a', title: 'a' }))
    await data.unitOfWork(async ({ em }) => {
      const removed = await em.findOneOrFail(Note, 'a')
      const [inserting, go] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
      em.getEventManager().registerSubscriber({
        afterCreate: ({ entity }) => {
          if ((entity as Note).id !== 'b') return
          inserting.resolve()
          return go.promise
        },
      })
      em.create(Note, { id: 'b', title: 'b' })
      const first = em.flush()
      await inserting.promise
      em.create(Note, { id: 'c', title: 'c' })
      em.remove(removed)
      const second = em.flush()
      go.resolve()
      await Promise.all([first, second])
    })
    expect((await storedNotes(data)).rows).toEqual(['b', 'c'])
  })
})
