import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { assessment, User } from '../../src/assessment/index.ts'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { silentLogger } from '../../src/kernel/logger.ts'
import { type CacheProcess, startCacheProcess } from '../support/cache-process.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../support/databases.ts'
import { openTestRedis, type TestRedis } from '../support/redis.ts'
import { repeats } from '../support/repeats.ts'

describe.each(dialects)('processes on %s that share a cache', (dialect) => {
  let database: TestDatabase
  let redis: TestRedis
  let data: DataAccess
  const processes: CacheProcess[] = []
  beforeEach(async () => {
    database = await openTestDatabase(dialect)
    redis = await openTestRedis()
    data = await createDataAccess({ modules: [assessment], database: { url: database.url }, cache: false, logger: silentLogger })
    await data.migrate()
  })
  afterEach(async () => {
    for (const each of processes.splice(0)) await each.kill()
    await data.close()
    await redis.close()
    await database.close()
  })

  test('with a hundred misses each at once load once together', { repeats }, async () => {
    const { id } = await data.unitOfWork(async ({ em }) => em.create(User, { email: 'alex@innovateai.dev', name: 'Alex' }))
    const options = { url: database.url, redisUrl: redis.url, prefix: redis.prefix }
    processes.push(...(await Promise.all([startCacheProcess(options), startCacheProcess(options)])))
    const answers = await Promise.all(processes.map((each) => each.tell({ verb: 'read at once a hundred times', id })))
    const told = answers as { names: string[]; loads: number }[]
    expect(told.map(({ names }) => names)).toEqual([['Alex'], ['Alex']])
    expect(told.reduce((sum, { loads }) => sum + loads, 0)).toBe(1)
  })
})
