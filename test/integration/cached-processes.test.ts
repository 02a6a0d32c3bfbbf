import { Redis } from 'ioredis'
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

  test('show what a transaction writes to itself alone until it commits, and keep nothing of it', async () => {
    const { id } = await data.unitOfWork(async ({ em }) => em.create(User, { email: 'alex@innovateai.dev', name: 'old' }))
    const options = { url: database.url, redisUrl: redis.url, prefix: redis.prefix }
    const both = await Promise.all([startCacheProcess(options), startCacheProcess(options)])
    processes.push(...both)
    const [writer, reader] = both
    const read = async (each: CacheProcess) => ((await each.tell({ verb: 'read', id })) as { name: string }).name
    const client = new Redis(redis.url)
    const kept = async () => {
      const keys = await client.keys(`${redis.prefix}*`)
      return keys.length === 0 ? [] : (await client.mget(keys)).map(String)
    }
    const order = { verb: 'rename in a transaction that stays open', id } as const
    const rename = (name: string) => writer.tell({ ...order, name })

    // Where nothing is kept yet.
    expect(await rename('never')).toEqual({ names: ['never', 'never'] })
    expect(await kept()).toEqual([])
    expect(await read(reader)).toBe('old')
    expect(await writer.tell({ verb: 'roll back', id })).toEqual({ done: 'roll back' })
    for (const each of both) expect(await read(each)).toBe('old')

    // And where the row as it was is kept.
    expect(await rename('new')).toEqual({ names: ['new', 'new'] })
    expect(await read(reader)).toBe('old')
    expect((await kept()).join()).not.toMatch(/new|never/)
    expect(await writer.tell({ verb: 'commit', id })).toEqual({ done: 'commit' })
    expect(await read(writer)).toBe('new')
    // On a slow machine Redis acknowledges it too late, and it is swept.
    await expect.poll(() => read(reader), { timeout: 20_000 }).toBe('new')
    client.disconnect()
  })
})
