import { MikroORM } from '@mikro-orm/postgresql'
import { describe, expect, test } from 'vitest'
import { createDataAccess } from '../../src/data-access.ts'
import { dataAccess } from '../../src/extension.ts'
import { startClosingChild } from '../support/closing-child.ts'
import { openTestDatabase } from '../support/databases.ts'
import { Note, notes } from '../support/notes-module.ts'
import { closesOpened } from '../support/opened.ts'
import { openProxyTo } from '../support/tcp-proxy.ts'

describe("what the guide gives an application's own ORM on PostgreSQL", () => {
  const opened = closesOpened()
  const open = async (driverOptions: object) => {
    const database = opened(await openTestDatabase('postgresql'))
    const proxy = opened(await openProxyTo(database.url))
    const orm = opened(
      await MikroORM.init({
        clientUrl: proxy.url,
        entities: [Note],
        extensions: [dataAccess({ modules: [notes] })],
        pool: { max: 1 },
        driverOptions: { keepAlive: true, ...driverOptions },
      }),
    )
    const data = opened(await createDataAccess({ orm, cache: false }))
    await data.migrate()
    return { data, orm, proxy }
  }

  test('connectionTimeoutMillis bounds the wait for a connection', async () => {
    const { data } = await open({ connectionTimeoutMillis: 300 })
    await data.unitOfWork(async ({ em }) => {
      await em.count(Note)
      await expect(data.fork().count(Note)).rejects.toMatchObject({ code: 'POOL_EXHAUSTED' })
    })
  })

  test('statement_timeout bounds a statement', async () => {
    const { data } = await open({ statement_timeout: 300 })
    const slow = data.fork().getConnection().execute('select pg_sleep(60)')
    await expect(slow).rejects.toMatchObject({ code: 'STATEMENT_CANCELED' })
  })

  test('lock_timeout bounds the wait for a lock, and idle_in_transaction_session_timeout a unit that does nothing', async () => {
    const { data } = await open({ lock_timeout: 200, idle_in_transaction_session_timeout: 500 })
    const [setting] = await data
      .fork()
      .getConnection()
      .execute(`select current_setting('lock_timeout') as lock, current_setting('idle_in_transaction_session_timeout') as idle`)
    expect(setting).toEqual({ lock: '200ms', idle: '500ms' })
    const idle = data.unitOfWork(async ({ em }) => {
      await em.count(Note)
      await new Promise((resolve) => setTimeout(resolve, 2000))
      await em.count(Note)
    })
    await expect(idle).rejects.toMatchObject({ code: 'TRANSACTION_ENDED' })
  })

  test.each([{ statement_timeout: 300 }, { query_timeout: 1000 }])(
    '%j bounds the wait for an answer, and by it the close of the ORM',
    async (limit) => {
      const { data, orm, proxy } = await open({ connectionTimeoutMillis: 2000, ...limit })
      proxy.stall()
      const unit = data.unitOfWork(({ em }) => em.count(Note))
      const failed = expect(unit).rejects.toMatchObject({ code: 'DATABASE_UNREACHABLE' })
      await new Promise((resolve) => setTimeout(resolve, 100))
      await data.close({ deadline: 100 })
      await orm.close()
      await failed
    },
  )

  test.each(['own', 'adopted'])('an idle connection to a server that hangs keeps no process alive: %s', async (whose) => {
    const database = opened(await openTestDatabase('postgresql'))
    const proxy = opened(await openProxyTo(database.url))
    const child = opened(await startClosingChild('close-in-child.ts', whose, proxy.url))
    proxy.stall()
    expect(await child.end()).toEqual([0, null])
  })
})
