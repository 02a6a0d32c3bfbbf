import { createRequire } from 'node:module'
import { setTimeout as delay } from 'node:timers/promises'
import type { EntityManager } from '@mikro-orm/core'
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { assessment, User } from '../../src/assessment/index.ts'
import { createDataAccess, type DataAccess } from '../../src/index.ts'
import { openTestDatabase, type TestDatabase } from '../support/databases.ts'
import { openProxyTo, type UrlProxy } from '../support/tcp-proxy.ts'

describe.each([
  ['a statementTimeoutMs', { statementTimeoutMs: 200 }],
  ['a query_timeout of the application', { driverOptions: { query_timeout: 300 } }],
])('a PostgreSQL that no answer comes from, with %s', (_, options) => {
  let database: TestDatabase
  let proxy: UrlProxy
  let data: DataAccess

  beforeEach(async () => {
    database = await openTestDatabase('postgresql')
    proxy = await openProxyTo(database.url)
    const pool = { max: 1, acquireTimeoutMs: 2000 }
    data = await createDataAccess({ modules: [assessment], database: { url: proxy.url, pool, ...options } })
    await data.migrate()
  })
  afterEach(async () => {
    await data.close()
    await proxy.close()
    await database.close()
  })

  const add = (email: string) => ({ email: `${email}@example.com`, name: 'Ann', yearsExperience: 1 })

  test.each([
    ['flush', { code: 'DATABASE_UNREACHABLE' }],
    ['commit', { code: 'COMMIT_OUTCOME_UNKNOWN' }],
    ['rollback', { message: 'changed my mind' }],
  ])('fails a unit at its %s, and takes no place of the pool with it', async (moment, error) => {
    const unit = data.unitOfWork(async ({ em }) => {
      em.create(User, add(moment))
      if (moment !== 'flush') await em.flush()
      proxy.stall()
      if (moment === 'rollback') throw new Error('changed my mind')
    })
    await expect(unit).rejects.toMatchObject(error)
    proxy.resume()
    await data.unitOfWork(async ({ em }) => void em.create(User, add('after')))
    expect(await data.fork().count(User, { email: 'after@example.com' })).toBe(1)
  })

  const readSlowly = async (em: EntityManager, atTenth: () => unknown) => {
    let rows = 0
    for await (const _ of em.stream(User, {})) if (++rows === 10) await atTenth()
    return rows
  }
  const addMany = () =>
    data.unitOfWork(async ({ em }) => {
      for (let index = 0; index < 150; index++) em.create(User, add(`user${index}`))
    })

  test.each(['a fork', 'a unit of work'])('fails a stream of %s, and takes no place of the pool with it', async (whose) => {
    await addMany()
    const read = (em: EntityManager) => readSlowly(em, () => proxy.stall())
    const reading = whose === 'a fork' ? read(data.fork()) : data.unitOfWork(({ em }) => read(em))
    await expect(reading).rejects.toMatchObject({ code: 'DATABASE_UNREACHABLE' })
    proxy.resume()
    expect(await data.fork().count(User)).toBe(150)
  })

  test('fails a stream whose last row has come, and the end of which does not', async () => {
    await addMany()
    const { prototype } = createRequire(createRequire(import.meta.url).resolve('@mikro-orm/postgresql'))('pg-cursor')
    const closePortal = prototype._closePortal
    onTestFinished(() => {
      prototype._closePortal = closePortal
    })
    prototype._closePortal = function () {
      proxy.stall()
      closePortal.call(this)
    }
    await expect(readSlowly(data.fork(), () => undefined)).rejects.toMatchObject({ code: 'DATABASE_UNREACHABLE' })
    proxy.resume()
    expect(await data.fork().count(User)).toBe(150)
  })

  test('lets go of a stream that its reader leaves', async () => {
    await addMany()
    for await (const _ of data.fork().stream(User, {})) {
      proxy.stall()
      break
    }
    proxy.resume()
    expect(await data.fork().count(User)).toBe(150)
  })

  test('is told from a stream whose reader takes longer than an answer may, which only the server itself ends', async () => {
    await addMany()
    const reading = readSlowly(data.fork(), () => delay(600))
    if ('statementTimeoutMs' in options) await expect(reading).rejects.toMatchObject({ code: 'STATEMENT_CANCELED' })
    else expect(await reading).toBe(150)
  })
})
