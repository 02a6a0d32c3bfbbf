import { setTimeout as delay } from 'node:timers/promises'
import type { SqlEntityManager } from '@mikro-orm/sql'
import { describe, expect, test } from 'vitest'
import { createDataAccess } from '../../src/data-access.ts'
import { dialects, openTestDatabase } from '../support/databases.ts'
import { Note, notes } from '../support/notes-module.ts'
import { closesOpened } from '../support/opened.ts'

describe.each(dialects)('closing on %s', (dialect) => {
  const opened = closesOpened()
  const open = async () => {
    const database = opened(await openTestDatabase(dialect))
    // Whoever waits for a connection would wait longer than the test.
    const pool = { max: 1, acquireTimeoutMs: 600_000 }
    const data = opened(await createDataAccess({ modules: [notes], database: { url: database.url, pool } }))
    await data.migrate()
    return data
  }
  const drain = async (rows: AsyncIterable<unknown>) => {
    for await (const _ of rows);
  }
  const outcome = (work: Promise<unknown>) => work.then(String, ({ code }: { code?: unknown }) => code)

  test('refuses those who wait for the connection that a unit holds, also when that comes back', async () => {
    const data = await open()
    const { promise: goesOn, resolve: goOn } = Promise.withResolvers<void>()
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>()
    const unit = outcome(
      data.unitOfWork(async ({ em }) => {
        await em.count(Note)
        begin()
        await goesOn
      }),
    )
    await begun
    const em = data.fork()
    const kysely = (data.fork() as SqlEntityManager).getKysely<{ notes: { id: string } }>()
    const waiting = [
      em.find(Note, {}),
      data.fork().insert(Note, { id: 'a', title: 'a', count: 0 }),
      data.fork().transactional((inside) => inside.count(Note)),
      data.unitOfWork((unit) => unit.em.count(Note)),
      data.fork().begin(),
      drain(data.fork().stream(Note, {})),
      drain((data.fork() as SqlEntityManager).createQueryBuilder(Note).stream()),
      kysely.selectFrom('notes').selectAll().execute(),
      drain(kysely.selectFrom('notes').selectAll().stream()),
      kysely.transaction().execute(async () => {}),
    ].map(outcome)
    const health = data.health({ migrations: true })
    await delay(50)
    await data.close({ deadline: 50 })
    expect(await Promise.all(waiting)).toEqual(waiting.map(() => 'CLOSED'))
    expect(await health).toMatchObject({ ok: false, database: { error: expect.stringContaining('closed') } })
    goOn()
    expect(await unit).toBe('CLOSED')
    expect(await outcome(em.count(Note))).toBe('CLOSED')
  })

  test('answers what begins right before, or says that it was closed', async () => {
    const data = await open()
    const asked = [data.fork().count(Note), data.health().then(({ ok }) => ok), data.fork().find(Note, {})].map(outcome)
    await data.close()
    for (const answer of await Promise.all(asked)) expect(['CLOSED', '0', 'true', 'false', '']).toContain(answer)
  })

  test('refuses those who wait for a transaction that was begun by hand', async () => {
    if (dialect === 'postgresql') return
    const data = await open()
    const holder = data.fork()
    await holder.begin()
    const waiting = outcome(data.fork().count(Note))
    await delay(50)
    await data.close({ deadline: 50 })
    expect(await waiting).toBe('CLOSED')
  })
})
