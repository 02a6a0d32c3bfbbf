import { setTimeout as delay } from 'node:timers/promises'
import type { EntityManager } from '@mikro-orm/core'
import { expect, test } from 'vitest'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { runSql } from '../../src/database/sql.ts'
import { openTestDatabase } from '../support/databases.ts'
import { Note, NoteTagged, notes } from '../support/notes-module.ts'
import { closesOpened } from '../support/opened.ts'

const opened = closesOpened()

const open = async (parameters = '') => {
  const database = opened(await openTestDatabase('postgresql'))
  const data = opened(await createDataAccess({ modules: [notes], database: { url: `${database.url}${parameters}` } }))
  await data.migrate()
  return data
}

const nexts: readonly (readonly [what: string, next: (em: EntityManager, data: DataAccess) => Promise<unknown>])[] = [
  ['its next query', (em) => em.count(Note)],
  ['its next SQL', (em) => runSql(em, 'select 1')],
  ['its commit', async () => {}],
  ['its commit, which it sends before it hears of it', async () => blockFor(600)],
  [
    'a nested unit, which it begins before it hears of it',
    async (_, data) => blockFor(600, () => data.unitOfWork(async () => {})),
  ],
]

/** Nothing that arrives meanwhile is read. */
function blockFor<Result>(ms: number, next?: () => Result): Result | undefined {
  for (const until = Date.now() + ms; Date.now() < until; );
  return next?.()
}

test.each(nexts)('a transaction that PostgreSQL ended for idling says so with %s, and is not tried again', async (what, next) => {
  const data = await open('?idle_in_transaction_session_timeout=200')
  let tries = 0
  const unit = data.unitOfWork(async ({ em, record }) => {
    tries++
    record(NoteTagged, em.create(Note, { id: 'a', title: 'a' }), 'a')
    await em.flush()
    if (!what.includes('before it hears')) await delay(600)
    await next(em, data)
  })
  await expect(unit).rejects.toMatchObject({
    code: 'TRANSACTION_ENDED',
    message: expect.stringMatching(/idle_in_transaction_session_timeout.*do not wait for anything else inside a unit/),
    context: { reason: '25P03' },
  })
  expect(tries).toBe(1)
  expect(await data.fork().count(Note)).toBe(0)
  expect((await data.stats()).pool.inUse).toBe(0)
})

test('a connection that PostgreSQL ended for another reason tells it', async () => {
  const data = await open()
  const unit = data.unitOfWork(async ({ em }) => {
    const [{ pid }] = (await runSql(em, 'select pg_backend_pid() as pid')) as [{ pid: number }]
    await runSql(data.fork(), 'select pg_terminate_backend(?)', [pid])
    await delay(300)
    await em.count(Note)
  })
  await expect(unit).rejects.toMatchObject({
    code: 'DATABASE_UNREACHABLE',
    message: expect.stringContaining('terminating connection due to administrator command'),
    context: { reason: '57P01' },
  })
})

test.each(['a unit of work', 'a fork'])('a stream of %s ends with its connection', async (how) => {
  const data = await open()
  await runSql(data.fork(), 'insert into notes (id, title, count) select i::text, i::text, 0 from generate_series(1, 5000) i')
  const read = async (em: EntityManager) => {
    let rows = 0
    for await (const _ of em.stream(Note, {})) {
      if (++rows !== 10) continue
      await runSql(
        data.fork(),
        `select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and pid <> pg_backend_pid() and query like '%notes%' and state <> 'idle'`,
      )
    }
  }
  const reading = how === 'a fork' ? read(data.fork()) : data.unitOfWork(({ em }) => read(em))
  await expect(reading).rejects.toThrow()
  expect((await data.stats()).pool.inUse).toBe(0)
})
