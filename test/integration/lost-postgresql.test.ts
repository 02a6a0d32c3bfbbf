import type { EntityManager } from '@mikro-orm/core'
import { describe, expect, it } from 'vitest'
import { createDataAccess } from '../../src/data-access.ts'
import { openTestDatabase } from '../support/databases.ts'
import { Note, NoteTagged, notes } from '../support/notes-module.ts'
import { openProxyTo } from '../support/tcp-proxy.ts'

describe('when PostgreSQL goes away after the opening', () => {
  const openBehindProxy = async () => {
    const database = await openTestDatabase('postgresql')
    const proxy = await openProxyTo(database.url)
    const url = new URL(proxy.url)
    url.password = 'secret'
    const data = await createDataAccess({ modules: [notes], database: { url: url.href } })
    await data.migrate()
    const close = async () => {
      await data.close()
      await proxy.close()
      await database.close()
    }
    return { data, proxy, close }
  }

  it('reads, units of work and health say so, without the password, and all works once it is back', async () => {
    const { data, proxy, close } = await openBehindProxy()
    await proxy.refuse()
    // Until the pool has noticed, a statement may meet a connection that is gone.
    await expect
      .poll(() => data.health())
      .toMatchObject({ database: { ok: false, error: expect.stringContaining('nothing listens there') } })
    for (const use of [
      () => data.fork().count(Note),
      () => data.fork().getConnection().execute('select 1'),
      () => data.unitOfWork(({ em }) => em.count(Note)),
      () => data.outbox.stats(),
    ]) {
      const error = await use().catch((reason: unknown) => reason)
      expect(error).toMatchObject({ code: 'DATABASE_UNREACHABLE', message: expect.stringContaining('nothing listens there') })
      expect((error as Error).message).toContain(`:***@127.0.0.1:${proxy.port}/`)
      expect((error as Error).message).not.toContain('secret')
    }
    await proxy.accept()
    expect(await data.fork().count(Note)).toBe(0)
    await close()
  })

  it('a unit whose connection was ended before its next statement, or before its commit, says so', async () => {
    const { data, close } = await openBehindProxy()
    const end = async (em: EntityManager) => {
      const ask = (fork: EntityManager, sql: string) => fork.getConnection().execute(sql, [], 'all', fork.getTransactionContext())
      const [{ pid }] = await ask(em, 'select pg_backend_pid() as pid')
      await ask(data.fork(), `select pg_terminate_backend(${pid})`)
      await expect
        .poll(() => ask(data.fork(), `select count(*)::int as n from pg_stat_activity where pid = ${pid}`))
        .toEqual([{ n: 0 }])
      // The socket hears of its end a moment later.
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
    const lost = { code: 'DATABASE_UNREACHABLE', message: expect.stringContaining('rolled back') }
    const reading = data.unitOfWork(async ({ em }) => {
      await end(em)
      await em.count(Note)
    })
    await expect(reading).rejects.toMatchObject(lost)
    const committing = data.unitOfWork(async ({ em, record }) => {
      em.create(Note, { id: 'lost', title: 'lost' })
      await end(em)
      record(NoteTagged, 'lost', { tag: 'lost' })
    })
    await expect(committing).rejects.toMatchObject(lost)
    expect(await data.fork().count(Note)).toBe(0)
    await close()
  })

  it('a statement whose connection is lost says what may have become of it', async () => {
    const { data, proxy, close } = await openBehindProxy()
    const asleep = data.unitOfWork(({ em }) =>
      em.getConnection().execute('select pg_sleep(60)', [], 'all', em.getTransactionContext()),
    )
    const lost = expect(asleep).rejects.toMatchObject({
      code: 'DATABASE_UNREACHABLE',
      message: expect.stringMatching(/was lost before it answered.*rolled back/),
    })
    const isAsleep = `select count(*)::int as n from pg_stat_activity where query like '%pg_sleep(60)%' and pid <> pg_backend_pid() and datname = current_database()`
    await expect.poll(() => data.fork().getConnection().execute(isAsleep)).toEqual([{ n: 1 }])
    proxy.cut()
    await lost
    await expect.poll(() => data.health()).toMatchObject({ database: { ok: true } })
    expect(await data.fork().count(Note)).toBe(0)
    await close()
  })
})
