import { type EntityManager, LockMode } from '@mikro-orm/core'
import type { SqlEntityManager } from '@mikro-orm/sql'
import { describe, expect, test } from 'vitest'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { openTestDatabase } from '../support/databases.ts'
import { Note, notes } from '../support/notes-module.ts'
import { closesOpened } from '../support/opened.ts'

const slow = 'select pg_sleep(60)'

const sqlOf = (em: EntityManager) => em as SqlEntityManager

interface Rows {
  executeQuery(query: object): Promise<unknown>
}
const kysely = (data: DataAccess) => (data.fork() as unknown as { getKysely(): Rows }).getKysely()
const compiled = (sql: string) => ({ sql, parameters: [], query: { kind: 'RawNode' }, queryId: { queryId: 'a' } })

describe('a limit of PostgreSQL on the time', () => {
  const opened = closesOpened()
  const open = async (statementTimeoutMs?: number) => {
    const database = opened(await openTestDatabase('postgresql'))
    const data = opened(await createDataAccess({ modules: [notes], database: { url: database.url, statementTimeoutMs } }))
    await data.migrate()
    await data.unitOfWork(async ({ em }) => void em.create(Note, { id: 'a', title: 'a' }))
    return data
  }

  test.each<[string, (data: DataAccess) => Promise<unknown>]>([
    ['of an entity manager', (data) => sqlOf(data.fork()).execute(slow)],
    ['of a unit', (data) => data.unitOfWork(({ em }) => sqlOf(em).execute(slow))],
    ['of a nested unit', (data) => data.unitOfWork(() => data.unitOfWork(({ em }) => sqlOf(em).execute(slow)))],
    ['of Kysely', (data) => kysely(data).executeQuery(compiled(slow))],
    [
      'that is streamed',
      async (data) => {
        const rows = sqlOf(data.fork()).createQueryBuilder(Note).where('pg_sleep(60) is not null').stream()
        for await (const _row of rows) return
      },
    ],
  ])('on a statement %s is told as STATEMENT_CANCELED', async (_whose, run) => {
    const data = await open(300)
    await expect(run(data)).rejects.toMatchObject({
      code: 'STATEMENT_CANCELED',
      message: expect.stringContaining('statement timeout'),
      context: { reason: '57014' },
    })
    expect(await data.fork().count(Note)).toBe(1)
  })

  test.each<[string, (em: SqlEntityManager) => Promise<unknown>, string?]>([
    ['by a bulk write', (em) => em.nativeUpdate(Note, 'a', { title: 'b' }), 'notes'],
    ['by a flush', async (em) => Object.assign(await em.findOneOrFail(Note, 'a'), { title: 'b' }), 'notes'],
    ['without a wait', (em) => em.find(Note, {}, { lockMode: LockMode.PESSIMISTIC_WRITE_OR_FAIL }), 'notes'],
    ['by SQL', (em) => em.execute('lock table notes in access exclusive mode')],
  ])('on the wait for a lock, asked for %s, is told as LOCK_NOT_AVAILABLE, with its table', async (_how, run, table) => {
    const data = await open()
    await data.unitOfWork(async ({ em: holder }) => {
      await holder.nativeUpdate(Note, 'a', { title: 'held' })
      const waits = data.fork().transactional(async (em) => {
        await sqlOf(em).execute(`set local lock_timeout = '50ms'`)
        await run(sqlOf(em))
      })
      await expect(waits).rejects.toMatchObject({
        code: 'LOCK_NOT_AVAILABLE',
        context: { reason: '55P03', ...(table === undefined ? {} : { table }) },
      })
    })
    expect((await data.fork().findOneOrFail(Note, 'a')).title).toBe('held')
  })
})
