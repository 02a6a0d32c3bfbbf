import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { EntityManager } from '@mikro-orm/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { DataAccess } from '../../src/data-access.ts'
import { runSql } from '../../src/database/sql.ts'
import { dialects } from '../support/databases.ts'
import { closeNotes, openNotes, storedNotes } from '../support/notes-access.ts'
import { NoteTagged } from '../support/notes-module.ts'

const nothing = { rows: [], events: [] }

afterEach(closeNotes)

describe.each(dialects)('a unit of work on %s and the errors of others', (dialect) => {
  let data: DataAccess
  beforeEach(async () => {
    data = await openNotes(dialect)
  })

  it('throws a refused request of the work as it is', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as AddressInfo
    await new Promise((resolve) => server.close(resolve))
    let refused: unknown
    const unit = data.unitOfWork(async ({ record }) => {
      record(NoteTagged, 'a', 1)
      await fetch(`http://127.0.0.1:${port}`).catch((error: unknown) => {
        refused = error
        throw error
      })
    })
    const thrown = await unit.catch((error: unknown) => error)
    expect(thrown).toBe(refused)
    // What once was taken for the loss of our own database.
    expect(thrown).toMatchObject({ message: 'fetch failed', cause: { code: 'ECONNREFUSED' } })
    expect(await storedNotes(data)).toEqual(nothing)
  })

  it.each(['40001', '40P01', 'SQLITE_BUSY', '25P02', '42P01', 'ECONNRESET'])(
    'runs once for an error of code %s',
    async (code) => {
      let runs = 0
      const theirs = new Error('their database', { cause: Object.assign(new Error('relation "x" does not exist'), { code }) })
      const unit = data.unitOfWork(async () => {
        runs++
        throw theirs
      })
      await expect(unit).rejects.toBe(theirs)
      expect(runs).toBe(1)
    },
  )

  it('leaves a table that the application itself lacks to its own error', async () => {
    const thrown = await data.unitOfWork(({ em }) => runSql(em, 'select * from theirs')).catch((error: unknown) => error)
    expect(thrown).toMatchObject({
      code: dialect === 'sqlite' ? 'SQLITE_ERROR' : '42P01',
      message: expect.stringContaining('theirs'),
    })
  })

  it('runs once for the conflict of another data access', async () => {
    const other = await openNotes(dialect)
    let runs = 0
    const unit = data.unitOfWork(async () => {
      runs++
      await other.unitOfWork(
        () => Promise.reject(other.orm.driver.convertException(Object.assign(new Error('conflict'), { code: '40001' }))),
        { retry: { attempts: 2 } },
      )
    })
    await expect(unit).rejects.toMatchObject({ code: 'UNIT_RETRIES_EXHAUSTED', context: { attempts: 2 } })
    expect(runs).toBe(1)
  })

  it('runs again for a conflict of its own that the work throws as the cause of another error', async () => {
    let runs = 0
    await data.unitOfWork(async () => {
      if (++runs < 3) {
        const conflict = data.orm.driver.convertException(Object.assign(new Error('conflict'), { code: '40001' }))
        throw new Error('the order failed', { cause: conflict })
      }
    })
    expect(runs).toBe(3)
  })

  it('refuses retries for a unit that joins an em, which has none', async () => {
    const both = data.unitOfWork(async () => {}, { em: data.fork(), retry: { attempts: 3 } })
    await expect(both).rejects.toMatchObject({
      code: 'OPTION_INVALID',
      message: expect.stringContaining('leave one of the two out'),
    })
    await data.unitOfWork(async () => {}, { em: data.fork(), retry: false })
  })
})

describe('a unit of work on postgresql and errors of its own', () => {
  it.each(['the ORM', 'Kysely'])('runs again for a conflict that %s met', async (way) => {
    const data = await openNotes('postgresql')
    let runs = 0
    await data.unitOfWork(async ({ em }) => {
      const conflict = "do $$ begin raise exception 'conflict' using errcode = '40001'; end $$"
      if (++runs === 3) return
      if (way === 'the ORM') await runSql(em, conflict)
      // Its queries go past MikroORM's connection.
      else await kyselyOf(em).executeQuery({ sql: conflict, parameters: [], query: { kind: 'RawNode' } })
    })
    expect(runs).toBe(3)
  })

  it('tells that its database went away in a query of Kysely', async () => {
    const data = await openNotes('postgresql')
    const unit = data.unitOfWork(async ({ em }) => {
      const suicide = 'select pg_terminate_backend(pg_backend_pid())'
      await kyselyOf(em).executeQuery({ sql: suicide, parameters: [], query: { kind: 'RawNode' } })
    })
    await expect(unit).rejects.toMatchObject({ code: 'DATABASE_UNREACHABLE' })
  })
})

const kyselyOf = (em: EntityManager) =>
  (em as unknown as { getKysely(): { executeQuery(query: object): Promise<unknown> } }).getKysely()
