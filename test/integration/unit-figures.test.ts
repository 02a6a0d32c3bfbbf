import { defineEntity, p } from '@mikro-orm/core'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { runSql } from '../../src/database/sql.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../support/databases.ts'

const Stock = defineEntity({
  name: 'Stock',
  tableName: 'stocks',
  properties: { id: p.integer().primary(), onHand: p.integer(), version: p.integer().version() },
})

describe.each(dialects)('the figures and the retries of units on %s', (dialect) => {
  let database: TestDatabase
  let data: DataAccess

  beforeEach(async () => {
    database = await openTestDatabase(dialect)
    data = await createDataAccess({
      database: { url: database.url },
      cache: false,
      modules: [{ name: 'stocks', entities: [Stock] }],
    })
    await data.migrate()
    await data.orm.schema.update()
  })
  afterEach(async () => {
    vi.restoreAllMocks()
    await data.close()
    await database.close()
  })

  const units = async () => (await data.stats()).units
  const none = { version: 0, conflict: 0 }
  /** A unit whose first tries find the row changed by somebody else. */
  const conflicting = (tries: number, retry?: object) =>
    data.unitOfWork(async ({ em, attempt }) => {
      const item = await em.findOneOrFail(Stock, 1)
      if (attempt <= tries) await runSql(em, 'update stocks set version = version + 1 where id = 1')
      item.onHand -= 1
    }, retry && { retry })

  test('counts what committed, what was rolled back, and tries that met a version; savepoints not', async () => {
    expect(await units()).toEqual({ committed: 0, rolledBack: 0, retried: none })
    await data.unitOfWork(async ({ em }) => {
      em.create(Stock, { id: 1, onHand: 100 })
      await data.unitOfWork(async () => {})
    })
    await data.unitOfWork(async () => {}, { em: data.fork() })
    expect(await units()).toEqual({ committed: 2, rolledBack: 0, retried: none })

    await conflicting(2)
    expect(await units()).toEqual({ committed: 3, rolledBack: 0, retried: { version: 2, conflict: 0 } })
    await expect(conflicting(9, { attempts: 2 })).rejects.toMatchObject({ code: 'UNIT_RETRIES_EXHAUSTED' })
    await expect(data.unitOfWork(() => Promise.reject(new Error('no')))).rejects.toThrow('no')
    expect(await units()).toEqual({ committed: 3, rolledBack: 2, retried: { version: 3, conflict: 0 } })
  })

  test('waits between tries as `baseMs` and `maxMs` say', async () => {
    await data.unitOfWork(async ({ em }) => void em.create(Stock, { id: 1, onHand: 100 }))
    vi.spyOn(Math, 'random').mockReturnValue(0.99)
    const begun = performance.now()
    await conflicting(2, { baseMs: 300, maxMs: 300 })
    expect(performance.now() - begun).toBeGreaterThan(590)
  })

  test('refuses waits that are none, and a bound below the first one', async () => {
    const unit = (retry: object) => data.unitOfWork(async () => {}, { retry })
    const refused = (words: string) =>
      expect.objectContaining({ code: 'OPTION_INVALID', message: expect.stringContaining(words) })
    await expect(unit({ baseMs: 0 })).rejects.toEqual(refused('retry.baseMs is 0; give a number from 1'))
    await expect(unit({ baseMs: 50, maxMs: 20 })).rejects.toEqual(refused('retry.maxMs is 20; give 50 to'))
    await expect(unit({ baseMs: 3000 })).resolves.toBeUndefined()
    await expect(unit({ maxms: 20 })).rejects.toEqual(refused('did you mean `maxMs`?'))
  })

  // SQLite has one writer, and no try meets such a failure.
  if (dialect === 'postgresql') {
    test('counts tries that met a serialization failure', async () => {
      await data.unitOfWork(async ({ em }) => void em.create(Stock, { id: 1, onHand: 100 }))
      await data.unitOfWork(
        async ({ em, attempt }) => {
          await em.findOneOrFail(Stock, 1)
          // On a connection of its own.
          if (attempt === 1) await em.getConnection().execute('update stocks set on_hand = on_hand - 1')
          await runSql(em, 'update stocks set on_hand = on_hand - 1')
        },
        { isolation: 'serializable' },
      )
      expect(await units()).toEqual({ committed: 2, rolledBack: 0, retried: { version: 0, conflict: 1 } })
    })
  }
})
