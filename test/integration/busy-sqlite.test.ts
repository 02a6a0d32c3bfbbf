import { describe, expect, test } from 'vitest'
import { createDataAccess } from '../../src/data-access.ts'
import { runSql } from '../../src/database/sql.ts'
import { openTestDatabase } from '../support/databases.ts'
import { Note, notes } from '../support/notes-module.ts'
import { closesOpened } from '../support/opened.ts'

describe('a unit of work on SQLite, while somebody else has the write lock,', () => {
  const opened = closesOpened()
  const open = async (timeout: number) => {
    const { url } = opened(await openTestDatabase('sqlite'))
    const data = opened(await createDataAccess({ modules: [notes], database: { url, driverOptions: { timeout } }, cache: false }))
    await data.migrate()
    const other = opened(await createDataAccess({ database: { url }, cache: false })).fork()
    await other.begin()
    await runSql(other, 'update outbox_sequence set value = value')
    return { data, other }
  }

  test('leaves the process to what else runs in it, and goes on once that lock is free', async () => {
    const { data, other } = await open(5000)
    setTimeout(() => void other.commit(), 100)
    await data.unitOfWork(async ({ em }) => void em.create(Note, { id: 'a', title: 'a' }), { retry: false })
    expect(await data.fork().count(Note)).toBe(1)
    expect(await runSql(data.fork(), 'pragma busy_timeout')).toEqual([{ timeout: 5000 }])
  })

  test('gives a try up after the busy timeout of its connection', async () => {
    const { data, other } = await open(300)
    let beats = 0
    const beating = setInterval(() => beats++, 10)
    const begun = performance.now()
    const unit = data.unitOfWork(async () => {}, { retry: { attempts: 2, baseMs: 1, maxMs: 1 } })
    await expect(unit).rejects.toMatchObject({ code: 'UNIT_RETRIES_EXHAUSTED', context: { attempts: 2 } })
    expect(performance.now() - begun).toBeGreaterThan(590)
    clearInterval(beating)
    expect(beats).toBeGreaterThan(10)
    expect(await runSql(data.fork(), 'pragma busy_timeout')).toEqual([{ timeout: 300 }])
    await other.rollback()
  })
})
