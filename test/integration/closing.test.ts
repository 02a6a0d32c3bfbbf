import { describe, expect, it } from 'vitest'
import { type CacheChoice, memoryCache } from '../../src/cache/cache-choice.ts'
import { MemoryStore } from '../../src/cache/memory/memory-store.ts'
import { dialects, openTestDatabase } from '../support/databases.ts'
import { Note, notes } from '../support/notes-module.ts'
import { openAssessment } from '../support/open-assessment.ts'

describe.each(dialects)('closing a data access on %s', (dialect) => {
  const open = (options?: Parameters<typeof openAssessment>[1]) => openAssessment(dialect, options)

  it('refuses to close inside a unit of work, which it would wait for, and goes on', async () => {
    const { data, close } = await open()
    await data.migrate()
    const asked = data.unitOfWork(() => data.close())
    await expect(asked).rejects.toMatchObject({ code: 'TRANSACTION_FORK', message: expect.stringContaining('after the unit') })
    expect(await data.unitOfWork(async () => 'open')).toBe('open')
    await close()
  })

  it('waits for a unit no longer than it is told', async () => {
    const { data, close } = await open()
    await data.migrate()
    await expect(data.close({ deadline: -1 })).rejects.toMatchObject({ code: 'OPTION_INVALID' })
    const { promise: hanging, resolve } = Promise.withResolvers<void>()
    const unit = data.unitOfWork(() => hanging).catch((error: unknown) => error)
    const began = performance.now()
    await data.close({ deadline: 50 })
    // Ten seconds without the deadline; half of them for a slow machine, and one for the pool.
    expect(performance.now() - began).toBeLessThan(5000)
    resolve()
    expect(await unit).toMatchObject({ code: 'CLOSED' })
    await close()
  })

  it('closes the rest behind what fails to close, and then says so', async () => {
    const failing: CacheChoice = {
      ...memoryCache({ singleProcess: true }),
      open: () => {
        const store = new MemoryStore({ maxEntries: 10 })
        store.close = () => Promise.reject(new Error('the store cannot be closed'))
        return store
      },
    }
    const { data, close } = await open({ cache: failing })
    await data.migrate()
    await expect(data.close()).rejects.toThrow('the store cannot be closed')
    expect(await data.orm.isConnected()).toBe(false)
    await close().catch(() => {})
  })

  it('closes twice, and before anything was used; then nothing is well', async () => {
    const { data, close } = await open({ cache: memoryCache({ singleProcess: true }) })
    await Promise.all([data.close(), data.close()])
    expect(await data.health()).toMatchObject({ ok: false, database: { ok: false }, cache: { ok: false } })
    await close()
  })

  it('does not hang behind a transaction begun by hand, which may be the caller its own', async () => {
    const database = await openTestDatabase(dialect)
    const { data, close } = await open({
      modules: [notes],
      database: { url: database.url, pool: { max: 1, acquireTimeoutMs: 300 } },
    })
    await data.migrate()
    const em = data.fork()
    await em.begin()
    const code = dialect === 'sqlite' ? 'TRANSACTION_FORK' : 'POOL_EXHAUSTED'
    const late = (id: string) => data.unitOfWork(async (unit) => void unit.em.create(Note, { id, title: id }))
    await expect(late('a')).rejects.toMatchObject({ code })
    await expect(data.fork().count(Note)).rejects.toMatchObject({ code })
    await expect(data.fork().insert(Note, { id: 'b', title: 'b', count: 0 } as never)).rejects.toMatchObject({ code })
    await data.unitOfWork(async (unit) => void unit.em.create(Note, { id: 'c', title: 'c' }), { em })
    await em.commit()
    await late('d')
    // What was refused is not done later.
    expect((await data.fork().find(Note, {}, { orderBy: { id: 'asc' } })).map(({ id }) => id)).toEqual(['c', 'd'])
    expect((await data.stats()).pool).toMatchObject({ inUse: 0, waiting: 0 })
    await close()
    await database.close()
  })

  it('waits for a transaction begun by hand that ends in time', async () => {
    const { data, close } = await open({ modules: [notes] })
    await data.migrate()
    const em = data.fork()
    await em.begin()
    const waiting = Promise.all([data.unitOfWork(async (unit) => unit.em.count(Note)), data.fork().count(Note)])
    em.create(Note, { id: 'a', title: 'a' })
    await em.commit()
    const [inUnit] = await waiting
    // On SQLite it came second; on PostgreSQL both stood side by side.
    if (dialect === 'sqlite') expect(inUnit).toBe(1)
    await close()
  })
})
