import { type EntityManager, type EventSubscriber, RequestContext, UniqueConstraintViolationException } from '@mikro-orm/core'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { hasErrorCode } from '../../src/errors.ts'
import { DomainEvent } from '../../src/outbox/event/domain-event.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../support/databases.ts'
import { MemoryLogger } from '../support/memory-logger.ts'
import { Note, NoteTagged, NoteWritten, notes } from '../support/notes-module.ts'

describe.each(dialects)('a unit of work on %s', (dialect) => {
  let database: TestDatabase
  let data: DataAccess
  let logger: MemoryLogger

  beforeEach(async () => {
    database = await openTestDatabase(dialect)
    logger = new MemoryLogger()
    data = await createDataAccess({ modules: [notes], database: { url: database.url }, logger })
    await data.migrate()
  })
  afterEach(async () => {
    await data.close()
    await database.close()
  })

  const titles = async () => (await data.fork().findAll(Note, { orderBy: { title: 'asc' } })).map((note) => note.title)
  const events = async () => data.fork().findAll(DomainEvent, { orderBy: { sequence: 'asc' } })
  const payloads = async () => (await events()).map((event) => event.payload)
  /** What MikroORM throws when the database resolved a conflict against this ORM: the same on both dialects. */
  const conflictOf = (code: string) => data.orm.driver.convertException(Object.assign(new Error('conflict'), { code }))

  it('commits rows and events together and returns what the work returns', async () => {
    const result = await data.unitOfWork(async ({ em, record, attempt }) => {
      const note = em.create(Note, { id: 'a', title: 'first' })
      const event = record(NoteWritten, note, { title: note.title }, { headers: { tenant: 't1' } })
      expect(attempt).toBe(1)
      return event
    })
    expect(await titles()).toEqual(['first'])
    const [stored] = await events()
    expect(stored).toMatchObject({
      id: result.id,
      eventType: 'NoteWritten',
      aggregateType: 'Note',
      aggregateId: 'a',
      payload: { title: 'first' },
      status: 'pending',
      publishedAt: null,
      orderingKey: 'Note:a',
      schemaVersion: 1,
      headers: { tenant: 't1' },
      availableAt: null,
      attempts: 0,
      lastError: null,
    })
    expect(stored?.createdAt).toEqual(result.createdAt)
  })

  it('keeps neither rows nor events when the work throws', async () => {
    const failure = new Error('no')
    const unit = data.unitOfWork(async ({ em, record }) => {
      record(NoteWritten, em.create(Note, { id: 'a', title: 'first' }), { title: 'first' })
      await em.flush()
      throw failure
    })
    await expect(unit).rejects.toBe(failure)
    expect(await titles()).toEqual([])
    expect(await events()).toEqual([])
  })

  it('keeps no event when the last flush fails', async () => {
    await data.unitOfWork(async ({ em }) => void em.create(Note, { id: 'a', title: 'first' }))
    const unit = data.unitOfWork(async ({ em, record }) => {
      record(NoteWritten, em.create(Note, { id: 'b', title: 'first' }), { title: 'first' })
    })
    await expect(unit).rejects.toThrow(/unique/i)
    expect(await events()).toEqual([])
  })

  it('stores an event recorded without any entity change', async () => {
    await data.unitOfWork(async ({ record }) => void record(NoteWritten, 'a', { title: 'alone' }))
    expect(await payloads()).toEqual([{ title: 'alone' }])
  })

  it('numbers events in the order in which they were recorded', async () => {
    await data.unitOfWork(async ({ record }) => {
      for (let index = 0; index < 50; index++) record(NoteTagged, `n${index % 3}`, index)
    })
    expect(await payloads()).toEqual(Array.from({ length: 50 }, (_, index) => index))
  })

  it('does not commit after a refused payload, even if the refusal is caught', async () => {
    const unit = data.unitOfWork(async ({ em, record }) => {
      const note = em.create(Note, { id: 'a', title: 'first' })
      record(NoteWritten, note, { title: 'good' })
      try {
        record(NoteWritten, note, { title: '' })
      } catch {}
    })
    await expect(unit).rejects.toMatchObject({ code: 'EVENT_PAYLOAD_REFUSED', message: expect.stringContaining('payload.title') })
    expect(await titles()).toEqual([])
    expect(await events()).toEqual([])
  })

  it.each([
    ['a function', () => {}],
    ['a BigInt', 1n],
    ['NaN', Number.NaN],
    ['a Map', new Map()],
    ['an invalid Date', new Date('never')],
    ['undefined in an array', [undefined]],
  ])('refuses a payload that JSON cannot carry: %s', async (_name, value) => {
    const unit = data.unitOfWork(async ({ record }) => void record(NoteTagged, 'a', { deep: [value] }))
    await expect(unit).rejects.toMatchObject({
      code: 'EVENT_PAYLOAD_NOT_JSON',
      message: expect.stringContaining('payload.deep[0]'),
    })
    expect(await events()).toEqual([])
  })

  it('refuses a payload that contains itself', async () => {
    const cycle: { self?: unknown } = {}
    cycle.self = cycle
    const unit = data.unitOfWork(async ({ record }) => void record(NoteTagged, 'a', cycle))
    await expect(unit).rejects.toMatchObject({ code: 'EVENT_PAYLOAD_NOT_JSON', message: expect.stringContaining('payload.self') })
  })

  const awkward = "it's \\ \u0000 ? ?? \ud800 “quoted” $1 :name \n"
  it('stores any JSON payload exactly', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.jsonValue(), { minLength: 1, maxLength: 5 }), async (values) => {
        const ids = await data.unitOfWork(async ({ record }) => values.map((value) => record(NoteTagged, 'a', value).id))
        const rows = await data.fork().getConnection().execute('select id, cast(payload as text) as payload from domain_events')
        const stored = new Map(rows.map((row: { id: string; payload: string }) => [row.id, row.payload]))
        expect(ids.map((id) => stored.get(id))).toEqual(values.map((value) => JSON.stringify(value)))
      }),
      // Long literals are written in another way than short ones.
      { numRuns: 60, examples: [[[awkward, 1e2, 0.1, 1e21]], [[awkward.repeat(20)]]] },
    )
  })

  it('stores 20,000 events of one transaction', async () => {
    await data.unitOfWork(async ({ record }) => {
      for (let index = 0; index < 20_000; index++) record(NoteTagged, `n${index}`, index)
    })
    expect(await data.fork().count(DomainEvent)).toBe(20_000)
  })

  it('rolls a nested unit back with its own events and hooks, and no others', async () => {
    const hooks: string[] = []
    await data.unitOfWork(async ({ em, record, afterCommit }) => {
      em.create(Note, { id: 'a', title: 'outer' })
      record(NoteTagged, 'a', 'before')
      afterCommit(() => void hooks.push('outer'))
      await data
        .unitOfWork(async (inner) => {
          inner.em.create(Note, { id: 'b', title: 'inner' })
          inner.record(NoteTagged, 'b', 'rolled back')
          inner.afterCommit(() => void hooks.push('inner'))
          await inner.em.flush()
          throw new Error('only the savepoint')
        })
        .catch(() => {})
      await data.unitOfWork(async (inner) => {
        inner.em.create(Note, { id: 'c', title: 'kept' })
        inner.record(NoteTagged, 'c', 'kept')
        inner.afterCommit(() => void hooks.push('kept'))
      })
      record(NoteTagged, 'a', 'after')
      expect(hooks).toEqual([])
    })
    expect(await titles()).toEqual(['kept', 'outer'])
    expect(await payloads()).toEqual(['before', 'kept', 'after'])
    expect(hooks).toEqual(['outer', 'kept'])
  })

  it('gives the outer unit its entities back after a nested unit has rolled back', async () => {
    await data.unitOfWork(async ({ em }) => {
      for (const id of ['a', 'b', 'c', 'd']) em.create(Note, { id, title: `title ${id}` })
    })
    await data.unitOfWork(async ({ em }) => {
      const [a, b, c, d] = await Promise.all(['a', 'b', 'c', 'd'].map((id) => em.findOneOrFail(Note, id)))
      if (!(a && b && c && d)) throw new Error('unreachable')
      a.count = 1
      const nested = data.unitOfWork(async (inner) => {
        a.count = 2
        b.count = 2
        inner.em.remove(c)
        await inner.em.flush()
        d.count = 2 // Never flushed.
        inner.em.create(Note, { id: 'e', title: 'never' })
        throw new Error('only the savepoint')
      })
      await expect(nested).rejects.toThrow('only the savepoint')
      expect([a.count, b.count, c.count, d.count]).toEqual([1, 0, 0, 0])
      b.count = 2
      c.count = 3
      expect(em.getUnitOfWork().getById(Note, 'c')).toBe(c)
    })
    const counts = (await data.fork().findAll(Note, { orderBy: { id: 'asc' } })).map((note) => note.count)
    expect(counts).toEqual([1, 2, 3, 0])
  })

  it('lets the outer unit commit after a refusal in a nested unit that it caught', async () => {
    await data.unitOfWork(async ({ record }) => {
      record(NoteTagged, 'a', 'outer')
      const nested = data.unitOfWork(async (inner) => void inner.record(NoteWritten, 'b', { title: '' }))
      await expect(nested).rejects.toMatchObject({ code: 'EVENT_PAYLOAD_REFUSED' })
    })
    expect(await payloads()).toEqual(['outer'])
  })

  it('runs nested units that were started at once one after the other', async () => {
    const order: string[] = []
    await data.unitOfWork(async ({ record }) => {
      const nested = (name: string, fail: boolean) =>
        data.unitOfWork(async (inner) => {
          order.push(`${name} begins`)
          inner.em.create(Note, { id: name, title: name })
          inner.record(NoteTagged, name, name)
          await inner.em.flush()
          order.push(`${name} ends`)
          if (fail) throw new Error(name)
        })
      const all = Promise.allSettled([nested('a', true), nested('b', false), nested('c', true)])
      record(NoteTagged, 'outer', 'outer')
      await all
    })
    expect(order).toEqual(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends'])
    expect(await titles()).toEqual(['b'])
    expect((await payloads()).sort()).toEqual(['b', 'outer'])
  })

  it('keeps what an outer unit records while a savepoint of it is open and rolls back', async () => {
    await data.unitOfWork(async ({ record }) => {
      await data
        .unitOfWork(async (inner) => {
          await inner.em.flush()
          record(NoteTagged, 'a', 'outer')
          throw new Error('only the savepoint')
        })
        .catch(() => {})
    })
    expect(await payloads()).toEqual(['outer'])
  })

  it('joins the em of a request and saves the edits already made in it', async () => {
    await data.unitOfWork(async ({ em }) => void em.create(Note, { id: 'a', title: 'old' }))
    await RequestContext.create(data.orm.em, async () => {
      const note = await data.orm.em.findOneOrFail(Note, 'a')
      note.title = 'edited'
      await data.unitOfWork(async ({ record }) => void record(NoteWritten, note, { title: note.title }), { em: data.orm.em })
      expect(data.orm.em.getUnitOfWork().getIdentityMap().values()).toContain(note)
    })
    expect(await titles()).toEqual(['edited'])
    expect(await payloads()).toEqual([{ title: 'edited' }])
  })

  it('is a savepoint inside a transaction of the application', async () => {
    const outcome = data.fork().transactional(async (em) => {
      em.create(Note, { id: 'a', title: 'theirs' })
      await data.unitOfWork(async (unit) => {
        unit.em.create(Note, { id: 'b', title: 'ours' })
        unit.record(NoteTagged, 'b', 'ours')
      })
      throw new Error('theirs fails')
    })
    await expect(outcome).rejects.toThrow('theirs fails')
    expect(await titles()).toEqual([])
    expect(await events()).toEqual([])
    await data.fork().transactional(async () => {
      await data.unitOfWork(async ({ record }) => void record(NoteTagged, 'b', 'ours'))
    })
    expect(await payloads()).toEqual(['ours'])
  })

  it('lets no throwing hook undo the commit, keep other hooks from running, or reject', async () => {
    const seen: string[] = []
    await data.unitOfWork(async ({ em, afterCommit }) => {
      em.create(Note, { id: 'a', title: 'first' })
      afterCommit(() => {
        throw new Error('a hook')
      })
      afterCommit(async () => void seen.push(...(await titles())))
    })
    expect(seen).toEqual(['first'])
    expect(logger.errors).toHaveLength(1)
  })

  it('lets a hook start a unit of work of its own', async () => {
    await data.unitOfWork(async ({ record, afterCommit }) => {
      record(NoteTagged, 'a', 'first')
      afterCommit(() => data.unitOfWork(async (unit) => void unit.record(NoteTagged, 'a', 'second')))
    })
    expect(await payloads()).toEqual(['first', 'second'])
  })

  it('refuses record and afterCommit once the unit has ended', async () => {
    const late = await data.unitOfWork(async ({ record, afterCommit }) => ({ record, afterCommit }))
    expect(() => late.record(NoteTagged, 'a', 1)).toThrow(expect.objectContaining({ code: 'RECORD_OUTSIDE_UNIT' }))
    expect(() => late.afterCommit(() => {})).toThrow(expect.objectContaining({ code: 'RECORD_OUTSIDE_UNIT' }))
  })

  it('resolves although a subscriber of the application throws after the commit, and runs its hooks', async () => {
    const angry: EventSubscriber = {
      afterTransactionCommit: async () => {
        throw new Error('a subscriber of theirs')
      },
    }
    data.orm.em.getEventManager().registerSubscriber(angry)
    const seen: string[] = []
    const result = await data.unitOfWork(async ({ em, record, afterCommit }) => {
      record(NoteTagged, em.create(Note, { id: 'a', title: 'first' }), 1)
      afterCommit(() => void seen.push('hook'))
      return 'done'
    })
    expect(result).toBe('done')
    expect(seen).toEqual(['hook'])
    expect(await titles()).toEqual(['first'])
    expect(logger.errors).toHaveLength(1)
  })

  it('rolls everything back when a subscriber of the application throws before the commit', async () => {
    data.orm.em.getEventManager().registerSubscriber({
      beforeTransactionCommit: async () => {
        throw new Error('theirs')
      },
    })
    const unit = data.unitOfWork(async ({ em, record }) => void record(NoteTagged, em.create(Note, { id: 'a', title: 'x' }), 1))
    await expect(unit).rejects.toThrow('theirs')
    expect(await titles()).toEqual([])
    expect(await events()).toEqual([])
  })

  it('runs the work again with a fresh fork after a conflict, and keeps nothing of the attempt that failed', async () => {
    const seen: unknown[] = []
    await data.unitOfWork(async ({ em, record, afterCommit, attempt }) => {
      seen.push(em)
      em.create(Note, { id: 'a', title: `attempt ${attempt}` })
      record(NoteTagged, 'a', attempt)
      afterCommit(() => void seen.push(`hook ${attempt}`))
      await em.flush()
      if (attempt < 3) throw conflictOf('40001')
    })
    expect(await titles()).toEqual(['attempt 3'])
    expect(await payloads()).toEqual([3])
    expect(new Set(seen.slice(0, 3)).size).toBe(3)
    expect(seen.slice(3)).toEqual(['hook 3'])
  })

  it('a duplicate whose error was caught saves nothing, and says why', async () => {
    await data.unitOfWork(async ({ em }) => void em.create(Note, { id: 'first', title: 'taken' }))
    const unit = data.unitOfWork(async ({ em, record }) => {
      record(NoteTagged, 'second', 1)
      em.create(Note, { id: 'second', title: 'taken' })
      await em.flush().catch(() => {})
    })
    // SQLite goes on after a failed statement, and the flush before the commit meets the duplicate once more.
    await expect(unit).rejects.toSatisfy(
      (error) =>
        hasErrorCode(error, 'TRANSACTION_ABORTED') ||
        (dialect === 'sqlite' && error instanceof UniqueConstraintViolationException),
    )
    expect(await titles()).toEqual(['taken'])
    expect(await events()).toEqual([])
  })

  it('without retries the conflict itself is thrown, with one attempt that they are exhausted', async () => {
    const conflict = conflictOf('40001')
    await expect(data.unitOfWork(() => Promise.reject(conflict), { retry: false })).rejects.toBe(conflict)
    const once = data.unitOfWork(() => Promise.reject(conflict), { retry: { attempts: 1 } })
    await expect(once).rejects.toMatchObject({ code: 'UNIT_RETRIES_EXHAUSTED', cause: conflict })
  })

  it('gives up after the allowed attempts with the conflict as the cause', async () => {
    const conflict = conflictOf('40P01')
    const unit = data.unitOfWork(() => Promise.reject(conflict), { retry: { attempts: 2 } })
    await expect(unit).rejects.toMatchObject({ code: 'UNIT_RETRIES_EXHAUSTED', cause: conflict })
    await expect(data.unitOfWork(() => Promise.reject(conflict), { retry: false })).rejects.toBe(conflict)
    await expect(data.unitOfWork(() => Promise.reject(conflict), { em: data.fork() })).rejects.toBe(conflict)
  })

  it('loses no update between units that count one row at once', async () => {
    await data.unitOfWork(async ({ em }) => void em.create(Note, { id: 'a', title: 'counter' }))
    const add = () =>
      data.unitOfWork(
        async ({ em, record }) => {
          const note = await em.findOneOrFail(Note, 'a')
          note.count++
          record(NoteTagged, note, note.count)
        },
        { isolation: 'serializable', retry: { attempts: 50 } },
      )
    await Promise.all(Array.from({ length: 20 }, add))
    expect((await data.fork().findOneOrFail(Note, 'a')).count).toBe(20)
    expect(await payloads()).toEqual(Array.from({ length: 20 }, (_, index) => index + 1))
  })

  it('refuses an entity manager of another data access', async () => {
    const em = data.fork()
    const foreign = await createDataAccess()
    await expect(foreign.unitOfWork(async () => {}, { em })).rejects.toMatchObject({ code: 'OPTION_INVALID' })
    await foreign.close()
  })

  it('refuses isolation for a savepoint', async () => {
    const unit = data.unitOfWork(() => data.unitOfWork(async () => {}, { isolation: 'serializable' }))
    await expect(unit).rejects.toMatchObject({ code: 'OPTION_INVALID' })
  })

  it('refuses the em of an outer unit while a savepoint of it is open', async () => {
    const unit = data.unitOfWork(({ em }) => data.unitOfWork(() => data.unitOfWork(async () => {}, { em })))
    await expect(unit).rejects.toMatchObject({ code: 'TRANSACTION_FORK' })
  })

  it.each<[string, (em: EntityManager) => unknown]>([
    ['returns', () => {}],
    ['reads', (em) => em.findAll(Note)],
    ['writes', (em) => em.insert(Note, { id: 'b', title: 'late', count: 0 })],
  ])('rolls a unit back that outlasts the wait of close() and then %s', async (_what, goOn) => {
    const [written, closed] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const outlasting = data.unitOfWork(async ({ em, afterCommit }) => {
      em.create(Note, { id: 'a', title: 'early' })
      afterCommit(() => expect.unreachable())
      await em.flush()
      written.resolve()
      await closed.promise
      await goOn(em)
    })
    await written.promise
    // Both waits of close(), for the unit and for its connection, are over at once.
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const closing = data.close()
    await vi.advanceTimersByTimeAsync(20_000)
    vi.useRealTimers()
    await closing
    closed.resolve()
    await expect(outlasting).rejects.toSatisfy((error) => hasErrorCode(error, 'CLOSED'))
    const after = await createDataAccess({ modules: [notes], database: { url: database.url } })
    expect(await after.fork().findAll(Note)).toEqual([])
    await after.close()
    expect(logger.errors).toEqual([])
  })

  it('waits for running units when it closes, and refuses new ones and every query afterwards', async () => {
    let release = () => {}
    const gate = new Promise<void>((resolve) => {
      release = resolve
    })
    const running = data.unitOfWork(async ({ record }) => {
      await gate
      record(NoteTagged, 'a', 1)
    })
    const fork = data.fork()
    const closing = data.close()
    await expect(async () => data.unitOfWork(async () => {})).rejects.toMatchObject({ code: 'CLOSED' })
    release()
    await running
    await Promise.all([closing, data.close()])
    await expect(fork.findAll(Note)).rejects.toSatisfy((error) => hasErrorCode(error, 'CLOSED'))
    await expect(data.orm.em.fork().transactional(async () => {})).rejects.toSatisfy((error) => hasErrorCode(error, 'CLOSED'))
    expect((await data.health()).ok).toBe(false)
    await expect(data.stats()).rejects.toMatchObject({ code: 'CLOSED' })
    expect(() => data.fork()).toThrow(expect.objectContaining({ code: 'CLOSED' }))
  })
})

describe('a unit of work on sqlite', () => {
  it('throws a clear error for a query through another fork instead of hanging', async () => {
    const data = await createDataAccess({ modules: [notes] })
    await data.migrate()
    const other = data.fork()
    const unit = data.unitOfWork(() => other.findAll(Note))
    await expect(unit).rejects.toSatisfy((error) => hasErrorCode(error, 'TRANSACTION_FORK'))
    const nested = data.fork().transactional(() => data.fork().transactional(async () => {}))
    await expect(nested).rejects.toSatisfy((error) => hasErrorCode(error, 'TRANSACTION_FORK'))
    expect(await other.findAll(Note)).toEqual([])
    await data.close()
  })
})
