import { type EntityManager, UniqueConstraintViolationException } from '@mikro-orm/core'
import { describe, expect, it, vi } from 'vitest'
import { createDataAccess } from '../../src/data-access.ts'
import { hasErrorCode } from '../../src/errors.ts'
import { dialects } from '../support/databases.ts'
import { Note, NoteTagged, notes } from '../support/notes-module.ts'
import { unitGround } from '../support/unit-ground.ts'

describe.each(dialects)('what a unit of work on %s refuses, and its conflicts', (dialect) => {
  const ground = unitGround(dialect)
  const { titles, events, payloads } = ground

  /** What MikroORM throws when the database resolved a conflict against this ORM: the same on both dialects. */
  const conflictOf = (code: string) => ground.data.orm.driver.convertException(Object.assign(new Error('conflict'), { code }))

  it.each([
    ['a function', () => {}],
    ['a BigInt', 1n],
    ['NaN', Number.NaN],
    ['a Map', new Map()],
    ['an invalid Date', new Date('never')],
    ['undefined in an array', [undefined]],
  ])('refuses a payload that JSON cannot carry: %s', async (_name, value) => {
    const unit = ground.data.unitOfWork(async ({ record }) => void record(NoteTagged, 'a', { deep: [value] }))
    await expect(unit).rejects.toMatchObject({
      code: 'EVENT_PAYLOAD_NOT_JSON',
      message: expect.stringContaining('payload.deep[0]'),
    })
    expect(await events()).toEqual([])
  })

  it('runs the work again with a fresh fork after a conflict, and keeps nothing of the attempt that failed', async () => {
    const seen: unknown[] = []
    await ground.data.unitOfWork(async ({ em, record, afterCommit, attempt }) => {
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
    await ground.data.unitOfWork(async ({ em }) => void em.create(Note, { id: 'first', title: 'taken' }))
    const unit = ground.data.unitOfWork(async ({ em, record }) => {
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
    await expect(ground.data.unitOfWork(() => Promise.reject(conflict), { retry: false })).rejects.toBe(conflict)
    const once = ground.data.unitOfWork(() => Promise.reject(conflict), { retry: { attempts: 1 } })
    await expect(once).rejects.toMatchObject({ code: 'UNIT_RETRIES_EXHAUSTED', cause: conflict })
  })

  it('gives up after the allowed attempts with the conflict as the cause', async () => {
    const conflict = conflictOf('40P01')
    const unit = ground.data.unitOfWork(() => Promise.reject(conflict), { retry: { attempts: 2 } })
    await expect(unit).rejects.toMatchObject({ code: 'UNIT_RETRIES_EXHAUSTED', cause: conflict })
    await expect(ground.data.unitOfWork(() => Promise.reject(conflict), { retry: false })).rejects.toBe(conflict)
    await expect(ground.data.unitOfWork(() => Promise.reject(conflict), { em: ground.data.fork() })).rejects.toBe(conflict)
  })

  it('loses no update between units that count one row at once', async () => {
    await ground.data.unitOfWork(async ({ em }) => void em.create(Note, { id: 'a', title: 'counter' }))
    const add = () =>
      ground.data.unitOfWork(
        async ({ em, record }) => {
          const note = await em.findOneOrFail(Note, 'a')
          note.count++
          record(NoteTagged, note, note.count)
        },
        { isolation: 'serializable', retry: { attempts: 50 } },
      )
    await Promise.all(Array.from({ length: 20 }, add))
    expect((await ground.data.fork().findOneOrFail(Note, 'a')).count).toBe(20)
    expect(await payloads()).toEqual(Array.from({ length: 20 }, (_, index) => index + 1))
  })

  it('refuses an entity manager of another data access', async () => {
    const em = ground.data.fork()
    const foreign = await createDataAccess()
    await expect(foreign.unitOfWork(async () => {}, { em })).rejects.toMatchObject({ code: 'OPTION_INVALID' })
    await foreign.close()
  })

  it.each<[string, (em: EntityManager) => unknown]>([
    ['returns', () => {}],
    ['reads', (em) => em.findAll(Note)],
    ['writes', (em) => em.insert(Note, { id: 'b', title: 'late', count: 0 })],
  ])('rolls a unit back that outlasts the wait of close() and then %s', async (_what, goOn) => {
    const [written, closed] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const outlasting = ground.data.unitOfWork(async ({ em, afterCommit }) => {
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
    const closing = ground.data.close()
    await vi.advanceTimersByTimeAsync(20_000)
    vi.useRealTimers()
    await closing
    closed.resolve()
    await expect(outlasting).rejects.toSatisfy((error) => hasErrorCode(error, 'CLOSED'))
    const after = await createDataAccess({ modules: [notes], database: { url: ground.url } })
    expect(await after.fork().findAll(Note)).toEqual([])
    await after.close()
    expect(ground.logger.errors).toEqual([])
  })

  it('waits for running units when it closes, and refuses new ones and every query afterwards', async () => {
    let release = () => {}
    const gate = new Promise<void>((resolve) => {
      release = resolve
    })
    const running = ground.data.unitOfWork(async ({ record }) => {
      await gate
      record(NoteTagged, 'a', 1)
    })
    const fork = ground.data.fork()
    const closing = ground.data.close()
    await expect(async () => ground.data.unitOfWork(async () => {})).rejects.toMatchObject({ code: 'CLOSED' })
    release()
    await running
    await Promise.all([closing, ground.data.close()])
    await expect(fork.findAll(Note)).rejects.toSatisfy((error) => hasErrorCode(error, 'CLOSED'))
    await expect(ground.data.orm.em.fork().transactional(async () => {})).rejects.toSatisfy((error) =>
      hasErrorCode(error, 'CLOSED'),
    )
    expect((await ground.data.health()).ok).toBe(false)
    await expect(ground.data.stats()).rejects.toMatchObject({ code: 'CLOSED' })
    expect(() => ground.data.fork()).toThrow(expect.objectContaining({ code: 'CLOSED' }))
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
