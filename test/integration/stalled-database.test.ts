import { afterEach, beforeEach, describe, expect, test } from 'vitest'
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
})
