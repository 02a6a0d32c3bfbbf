import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { assessment, User } from '../../src/assessment/index.ts'
import { InvalidationLog } from '../../src/cache/invalidation-log.ts'
import { InvalidationSweep } from '../../src/cache/invalidation-sweep.ts'
import { redisCache } from '../../src/cache/redis/redis-cache.ts'
import { createDataAccess } from '../../src/data-access.ts'
import { runSql } from '../../src/database/sql.ts'
import { silentLogger } from '../../src/kernel/logger.ts'
import { type CacheGround, openCacheGround } from '../support/cache-ground.ts'
import { dialects } from '../support/databases.ts'
import { closesOpened } from '../support/opened.ts'
import { openTestRedis } from '../support/redis.ts'

const track = closesOpened()

describe.each(dialects)('what piled up while the store was away, on %s', (dialect) => {
  let ground: CacheGround
  beforeAll(async () => {
    ground = await openCacheGround(dialect, 'memory')
  })
  afterAll(() => ground.close())

  test('is read in small parts, few of them before the store is back, and is all swept then', async () => {
    const log = new InvalidationLog(ground.orm, 'backlog')
    const every = Array.from({ length: 600 }, (_, index) => `Author:${index}`)
    await ground.fork().transactional(async (em) => {
      for (const key of every) await log.write(em, [key])
    })
    const read: number[] = []
    const older = log.olderThan.bind(log)
    vi.spyOn(log, 'olderThan').mockImplementation(async (...args) => {
      const rows = await older(...args)
      read.push(rows.length)
      return rows
    })
    let away = true
    const expired = new Set<string>()
    const expire = async (keys: ReadonlySet<string>) => {
      if (away) throw new Error('the store is away')
      for (const key of keys) expired.add(key)
    }
    const sweep = new InvalidationSweep({ log, expire, everyMs: 40, logger: silentLogger })
    sweep.start()
    await vi.waitFor(() => expect(read.length).toBeGreaterThan(3), { timeout: 10_000 })
    expect(Math.max(...read)).toBeLessThanOrEqual(10)
    away = false
    await vi.waitFor(() => expect(expired.size).toBe(every.length), { timeout: 20_000 })
    expect(Math.max(...read)).toBeLessThanOrEqual(250)
    await vi.waitFor(() => expect(sweep.swept).toBe(every.length), { timeout: 20_000 })
    await sweep.stop()
    expect(await older(0)).toEqual([])
  })

  const openLog = async (name: string, rows: number) => {
    const log = new InvalidationLog(ground.orm, name)
    await ground.fork().transactional(async (em) => {
      for (let index = 0; index < rows; index++) await log.write(em, [`Author:${index}`])
    })
    return log
  }

  test('holds readers up no more once it is expired, also where its rows cannot be removed', async () => {
    const log = await openLog('kept', 12)
    vi.spyOn(log, 'remove').mockRejectedValue(new Error('no right to delete'))
    const sweep = new InvalidationSweep({ log, expire: async () => undefined, everyMs: 60_000, logger: silentLogger })
    sweep.start()
    await sweep.firstLook()
    expect(sweep.caughtUp).toBe(true)
    await sweep.stop()
  })

  test('is looked for again soon where the first look failed, however long the interval', async () => {
    const log = await openLog('late', 1)
    let tries = 0
    const expire = async () => {
      if (++tries < 3) throw new Error('the store is not connected yet')
    }
    const sweep = new InvalidationSweep({ log, expire, everyMs: 600_000, logger: silentLogger })
    sweep.start()
    await vi.waitFor(() => expect(sweep.caughtUp).toBe(true), { timeout: 10_000 })
    await sweep.stop()
  })
})

test('what another process has just committed is left to it for half of sweepMs', async () => {
  const { url, prefix } = track(await openTestRedis())
  const cache = redisCache({ url, prefix, timeoutMs: 5000, sweepMs: 60_000 })
  const data = track(await createDataAccess({ modules: [assessment], cache, logger: silentLogger }))
  await data.migrate()
  const { id } = await data.unitOfWork(async ({ em }) => em.create(User, { email: 'alex@innovateai.dev', name: 'old' }))
  const nameOf = async () => (await data.cached(User).get(id))?.name
  await expect.poll(() => nameOf().then(() => data.cached(User).stats().hits), { timeout: 20_000 }).toBeGreaterThan(0)
  const { misses } = data.cached(User).stats()
  await runSql(data.fork(), "update users set name = 'new' where id = ?", [id])
  await new InvalidationLog(data.orm, prefix).writeAlone([`User:${id}`])
  await delay(1100) // longer than it may last by default
  expect(await nameOf()).toBe('old')
  expect(data.cached(User).stats().misses).toBe(misses)
})
