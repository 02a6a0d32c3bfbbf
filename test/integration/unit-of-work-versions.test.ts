import { defineEntity, LockMode, OptimisticLockError, p } from '@mikro-orm/core'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { runSql } from '../../src/database/sql.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../support/databases.ts'

const StockSchema = defineEntity({
  name: 'Stock',
  tableName: 'stocks',
  properties: { id: p.integer().primary(), onHand: p.integer(), version: p.integer().version() },
})
class Stock extends StockSchema.class {}
StockSchema.setClass(Stock)

describe.each(dialects)('a unit of work that changes a versioned entity on %s', (dialect) => {
  let database: TestDatabase
  let data: DataAccess

  const open = async ({ url }: TestDatabase) => {
    const opened = await createDataAccess({ modules: [{ name: 'stock', entities: [Stock] }], database: { url }, cache: false })
    await opened.migrate()
    const em = opened.fork()
    await runSql(em, 'create table stocks (id integer primary key, on_hand integer not null, version integer not null default 1)')
    await runSql(em, 'insert into stocks (id, on_hand) values (1, 100)')
    return opened
  }
  beforeEach(async () => {
    database = await openTestDatabase(dialect)
    data = await open(database)
  })
  afterEach(async () => {
    await data.close()
    await database.close()
  })

  const somebodyElse = 'update stocks set on_hand = on_hand - 1, version = version + 1 where id = 1'
  const stock = async () => (await data.fork().findOneOrFail(Stock, 1)).onHand

  test('runs again, on the new row, when somebody else changed it meanwhile', async () => {
    const seen: number[] = []
    await data.unitOfWork(async ({ em, attempt }) => {
      const item = await em.findOneOrFail(Stock, 1)
      seen.push(item.onHand)
      // In this transaction, since SQLite has one writer: what is read before it is as old as after another one's commit.
      if (attempt < 3) await runSql(em, somebodyElse)
      item.onHand -= 10
    })
    // What the tries before wrote was rolled back with them.
    expect(seen).toEqual([100, 100, 100])
    expect(await stock()).toBe(90)
  })

  test('fails after its last try, with the conflict as the cause; with `retry: false` by the conflict itself', async () => {
    const conflicting = (options: object) =>
      data
        .unitOfWork(async ({ em }) => {
          const item = await em.findOneOrFail(Stock, 1)
          await runSql(em, somebodyElse)
          item.onHand -= 10
          await em.flush()
        }, options)
        .catch((error: unknown) => error)
    expect(await conflicting({ retry: { attempts: 2 } })).toMatchObject({
      code: 'UNIT_RETRIES_EXHAUSTED',
      cause: expect.any(OptimisticLockError),
      context: { attempts: 2 },
    })
    expect(await conflicting({ retry: false })).toBeInstanceOf(OptimisticLockError)
    expect(await conflicting({ em: data.fork() })).toBeInstanceOf(OptimisticLockError)
    expect(await stock()).toBe(100)
  })

  test('lets the work catch a conflict, read the row anew and write again', async () => {
    const attempts: number[] = []
    await data.unitOfWork(async ({ em, attempt }) => {
      attempts.push(attempt)
      const item = await em.findOneOrFail(Stock, 1)
      await runSql(em, somebodyElse)
      item.onHand -= 10
      await em.flush().catch(async (error: unknown) => {
        expect(error).toBeInstanceOf(OptimisticLockError)
        await em.refresh(item)
        item.onHand -= 10
      })
    })
    expect(attempts).toEqual([1])
    expect(await stock()).toBe(89)
  })

  test('runs again when the work caught a conflict, with which MikroORM has forgotten a new row', async () => {
    const attempts: number[] = []
    await data.unitOfWork(async ({ em, attempt }) => {
      attempts.push(attempt)
      const item = await em.findOneOrFail(Stock, 1)
      if (attempt === 1) await runSql(em, somebodyElse)
      item.onHand -= 10
      em.create(Stock, { id: 2, onHand: attempt })
      await em.flush().catch(() => em.refresh(item))
    })
    expect(attempts).toEqual([1, 2])
    expect(await data.fork().findOneOrFail(Stock, 2)).toMatchObject({ onHand: 2 })
    expect(await stock()).toBe(90)
  })

  test('is not run again for a version that the work asked for', async () => {
    let tries = 0
    const asking = data.unitOfWork(async ({ em }) => {
      tries++
      await em.findOneOrFail(Stock, 1, { lockMode: LockMode.OPTIMISTIC, lockVersion: 7 })
    })
    await expect(asking).rejects.toThrow('version 7 was expected')
    expect(tries).toBe(1)
  })

  test('fails by the conflict of an entity that comes from outside, which no try reads anew', async () => {
    for (const take of ['merge', 'persist'] as const) {
      const outside = data.fork()
      const item = await outside.findOneOrFail(Stock, 1)
      await runSql(data.fork(), somebodyElse)
      const before = await stock()
      const unit = data.unitOfWork(async ({ em }) => {
        if (take === 'merge') em.merge(item)
        else em.persist(item)
        item.onHand = 7
      })
      await expect(unit).rejects.toBeInstanceOf(OptimisticLockError)
      expect(await stock()).toBe(before)
    }
  })

  test('is not run again for a conflict of another data access', async () => {
    const elsewhere = await openTestDatabase(dialect)
    const other = await open(elsewhere)
    let tries = 0
    const outer = data.unitOfWork(async () => {
      tries++
      const em = other.fork()
      em.merge(Stock, { id: 1, onHand: 100, version: 0 }).onHand = 1
      await em.flush()
    })
    await expect(outer).rejects.toBeInstanceOf(OptimisticLockError)
    expect(tries).toBe(1)
    await other.close()
    await elsewhere.close()
  })

  test('loses no change of many at once', { timeout: 60_000 }, async () => {
    const buy = () =>
      data.unitOfWork(
        async ({ em }) => {
          const item = await em.findOneOrFail(Stock, 1)
          item.onHand -= 1
        },
        { retry: { attempts: 100 } },
      )
    await Promise.all(Array.from({ length: 20 }, buy))
    expect(await stock()).toBe(80)
  })

  const addAnother = () => runSql(data.fork(), 'insert into stocks (id, on_hand) values (2, 100)')

  test('runs again when somebody else changed one of several rows right before they are written', async ({ skip }) => {
    skip(dialect === 'sqlite', 'SQLite has one writer')
    await addAnother()
    const [read, locked] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const both = data.unitOfWork(async ({ em, attempt }) => {
      const items = await em.find(Stock, {})
      read.resolve()
      if (attempt === 1) await locked.promise
      for (const item of items) item.onHand -= 10
    })
    await read.promise
    await data.unitOfWork(async ({ em }) => {
      await runSql(em, somebodyElse)
      locked.resolve()
      const waiting = `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
      await expect.poll(() => runSql(data.fork(), waiting), { timeout: 10_000 }).toHaveLength(1)
    })
    await both
    expect(await data.fork().find(Stock, {}, { orderBy: { id: 'asc' } })).toMatchObject([{ onHand: 89 }, { onHand: 90 }])
  })

  test('lets others insert rows that refer to the several that it has written', async ({ skip }) => {
    skip(dialect === 'sqlite', 'SQLite has one writer')
    await addAnother()
    await runSql(data.fork(), 'create table shelves (stock integer references stocks)')
    await data.unitOfWork(async ({ em }) => {
      for (const item of await em.find(Stock, {})) item.onHand -= 10
      await em.flush()
      await runSql(data.fork(), "set local lock_timeout = '2s'; insert into shelves values (1), (2)")
    })
    expect(await stock()).toBe(90)
  })
})
