import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { createDataAccess } from '../../src/data-access.ts'
import { dialects, openTestDatabase } from '../support/databases.ts'
import { Note, notes } from '../support/notes-module.ts'
import { closesOpened } from '../support/opened.ts'

describe.each(dialects)('readiness on %s', (dialect) => {
  const opened = closesOpened()
  const openAt = async (url: string, pool = {}) => opened(await createDataAccess({ modules: [notes], database: { url, pool } }))
  const open = async () => openAt(opened(await openTestDatabase(dialect)).url)

  test('is not there before all migrations have run, and names those that have not', async () => {
    const data = await open()
    const pending = await data.pendingMigrations()
    expect(pending).toContain('notes-001')
    expect(await data.health()).not.toHaveProperty('migrations')
    expect(await data.health({ migrations: true })).toMatchObject({
      ok: false,
      database: { ok: true },
      migrations: { ok: false, pending, error: expect.stringContaining('data.migrate()') },
    })
    await data.migrate()
    const ready = { ok: true, migrations: { ok: true, pending: [], latencyMs: expect.any(Number) } }
    expect(await data.health({ migrations: true })).toMatchObject(ready)
    // SQLite has one connection, which the unit holds.
    await data.unitOfWork(async ({ em }) => {
      await em.count(Note)
      expect(await data.health({ migrations: true })).toMatchObject(ready)
    })
    await data.close()
    expect(await data.health({ migrations: true })).toMatchObject({ ok: false, migrations: { ok: false, pending: [] } })
  })

  test('is asked for under load without a rejection', async () => {
    const { url } = opened(await openTestDatabase(dialect))
    await (await openAt(url)).migrate()
    const data = await openAt(url, { max: 2, acquireTimeoutMs: 200 })
    const until = Date.now() + 2000
    const works = Array.from({ length: 6 }, async () => {
      while (Date.now() < until) {
        await data.unitOfWork(({ em }) => em.count(Note).then(() => delay(Math.random() * 100))).catch(() => {})
      }
    })
    const reports = await Promise.all(
      Array.from({ length: 20 }, (_, index) => delay(index * 80).then(() => data.health({ migrations: true }))),
    )
    for (const { ok, database, migrations } of reports) expect(ok).toBe(database.ok && migrations?.ok)
    await Promise.all(works)
    await expect.poll(() => data.health({ migrations: true }), { timeout: 20_000 }).toMatchObject({ ok: true })
  })

  test('takes no option that is not known', async () => {
    const data = await open()
    const health = data.health({ migration: true } as never)
    await expect(health).rejects.toMatchObject({ code: 'OPTION_INVALID', message: expect.stringContaining('`migrations`?') })
  })
})
