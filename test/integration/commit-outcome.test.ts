import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { createDataAccess } from '../../src/data-access.ts'
import { DomainEvent } from '../../src/outbox/event/domain-event.ts'
import { openTestDatabase } from '../support/databases.ts'
import { Note, NoteTagged, notes } from '../support/notes-module.ts'
import { openProxyTo } from '../support/tcp-proxy.ts'

describe('a unit of work whose PostgreSQL goes away', () => {
  const open = async (driverOptions: Record<string, unknown> = {}) => {
    const database = await openTestDatabase('postgresql')
    const direct = await createDataAccess({ modules: [notes], database: { url: database.url } })
    await direct.migrate()
    const proxy = await openProxyTo(database.url)
    const data = await createDataAccess({ modules: [notes], database: { url: proxy.url, driverOptions } })
    const close = async () => {
      proxy.resume()
      await Promise.all([data.close(), direct.close()])
      await proxy.close()
      await database.close()
    }
    return { data, direct, proxy, close }
  }
  const count = (direct: Awaited<ReturnType<typeof open>>['direct']) =>
    Promise.all([direct.fork().count(Note), direct.fork().count(DomainEvent)])

  it('says that the outcome is unknown when the connection is lost during the commit, and does not try again', async () => {
    const { data, direct, proxy, close } = await open()
    let attempts = 0
    const unit = data.unitOfWork(async ({ em, record }) => {
      attempts++
      record(NoteTagged, em.create(Note, { id: 'a', title: 'a' }), 1)
      // Registered last, it runs behind our last statement and before the commit.
      em.getEventManager().registerSubscriber({
        beforeTransactionCommit: async () => {
          proxy.stall()
          void delay(100).then(() => proxy.cut())
        },
      })
    })
    await expect(unit).rejects.toMatchObject({ code: 'COMMIT_OUTCOME_UNKNOWN' })
    expect(attempts).toBe(1)
    const [rows, events] = await count(direct)
    expect(rows).toBe(events)
    await close()
  })

  it('says so too when the answer to the commit does not come in time, and still closes', async () => {
    const { data, direct, proxy, close } = await open({ query_timeout: 300 })
    const unit = data.unitOfWork(async ({ em, record }) => {
      record(NoteTagged, em.create(Note, { id: 'a', title: 'a' }), 1)
      em.getEventManager().registerSubscriber({ beforeTransactionCommit: async () => proxy.stall() })
    })
    await expect(unit).rejects.toMatchObject({ code: 'COMMIT_OUTCOME_UNKNOWN' })
    const [rows, events] = await count(direct)
    expect(rows).toBe(events)
    await close()
  })

  it('keeps nothing when the connection is lost before the commit, and works again afterwards', async () => {
    const { data, direct, proxy, close } = await open()
    const unit = data.unitOfWork(async ({ em, record }) => {
      record(NoteTagged, em.create(Note, { id: 'a', title: 'a' }), 1)
      await em.flush()
      proxy.cut()
    })
    await expect(unit).rejects.toThrow()
    expect(await count(direct)).toEqual([0, 0])
    await data.unitOfWork(async ({ em, record }) => void record(NoteTagged, em.create(Note, { id: 'a', title: 'a' }), 1))
    expect(await count(direct)).toEqual([1, 1])
    await close()
  })

  it('gives each lost connection back to the pool', async () => {
    const { data, proxy, close } = await open()
    for (let round = 0; round < 12; round++) {
      const lost = data.unitOfWork(async ({ em }) => {
        em.create(Note, { id: 'a', title: 'a' })
        await em.flush()
        proxy.cut()
        await em.count(Note)
      })
      await expect(lost).rejects.toThrow()
    }
    // The pool holds ten.
    await data.unitOfWork(async ({ em }) => expect(await em.count(Note)).toBe(0))
    expect((await data.stats()).pool).toMatchObject({ inUse: 0, waiting: 0 })
    await close()
  })

  it('keeps nothing when a deferred constraint fails at the commit, and says so', async () => {
    const { data, direct, close } = await open()
    await direct
      .fork()
      .getConnection()
      .execute('alter table notes add constraint later unique (count) deferrable initially deferred')
    await data.unitOfWork(async ({ em }) => void em.create(Note, { id: 'a', title: 'a', count: 7 }))
    const hooks: string[] = []
    const unit = data.unitOfWork(async ({ em, record, afterCommit }) => {
      record(NoteTagged, em.create(Note, { id: 'b', title: 'b', count: 7 }), 1)
      afterCommit(() => void hooks.push('never'))
    })
    await expect(unit).rejects.toThrow(/later/)
    expect(await count(direct)).toEqual([1, 0])
    expect(hooks).toEqual([])
    await close()
  })
})
