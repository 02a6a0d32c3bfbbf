import { setTimeout as delay } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest'
import { assessment, latestScore, User, userCache } from '../../src/assessment/index.ts'
import { redisCache } from '../../src/cache/redis/redis-cache.ts'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { runSql } from '../../src/database/sql.ts'
import { silentLogger } from '../../src/kernel/logger.ts'
import { type CacheProcess, startCacheProcess } from '../support/cache-process.ts'
import { dialects, openTestDatabase, type TestDatabase, type TestDialect } from '../support/databases.ts'
import { openTestRedis, type TestRedis } from '../support/redis.ts'
import { openProxyTo } from '../support/tcp-proxy.ts'

const sweeping = { interval: 20, timeout: 10_000 }
/** The interval, with generous slack for slow machines; the ttl is minutes. */
const boundMs = 1000 + 3000

/** Reads until what was committed is there: no read that begins later than the bound may give anything else. */
async function inTime<T>(read: () => Promise<T>, committed: T): Promise<void> {
  const committedAt = performance.now() // or before
  for (;;) {
    const begunMs = performance.now() - committedAt
    const got = await read()
    if (isDeepStrictEqual(got, committed)) return
    if (begunMs > boundMs) expect.fail(`a read begun ${begunMs} ms after the commit of ${committed} gave ${got}`)
    await delay(10)
  }
}

describe.each(dialects)('invalidations that a process on %s did not get to do', { timeout: 60_000 }, (dialect: TestDialect) => {
  let database: TestDatabase
  let redis: TestRedis
  let here: DataAccess
  const opened: { close(): Promise<unknown> }[] = []
  const processes: CacheProcess[] = []

  const open = async (url = database.url, redisUrl = redis.url, sweepMs = 1000) => {
    const cache = redisCache({ url: redisUrl, prefix: redis.prefix, timeoutMs: 5000, sweepMs })
    const data = await createDataAccess({ modules: [assessment], database: { url }, cache, logger: silentLogger })
    opened.push(data)
    return data
  }
  const start = async (redisUrl = redis.url) => {
    const child = await startCacheProcess({ url: database.url, redisUrl, prefix: redis.prefix })
    processes.push(child)
    return child
  }
  beforeEach(async () => {
    database = await openTestDatabase(dialect)
    redis = await openTestRedis()
    here = await open()
    await here.migrate()
    // What that expires has its row too.
    await noRows()
  })
  afterEach(async () => {
    for (const child of processes.splice(0)) await child.kill()
    for (const each of opened.splice(0)) await each.close()
    await redis.close()
    await database.close()
  })

  const cachedUser = async () => {
    const user = await here.unitOfWork(async ({ em }) => em.create(User, { email: 'alex@innovateai.dev', name: 'old' }))
    await isKept(user.id)
    return user.id
  }
  /** Reads until Redis has it. */
  const isKept = async (id: string) => {
    const users = here.cached(userCache)
    const { hits } = users.stats()
    await expect.poll(() => users.get(id).then(() => users.stats().hits), sweeping).toBeGreaterThan(hits)
  }
  const nameOf = async (data: DataAccess, id: string) => (await data.cached(userCache).get(id))?.name
  const rows = async () => (await runSql(here.fork(), 'select id from cache_invalidations')).length
  const swept = async (data: DataAccess) => (await data.stats()).cache?.invalidations.swept
  const noRows = () => expect.poll(rows, sweeping).toBe(0)
  /** How many commits were swept, here and by others. */
  const sweptBy = async (...others: readonly CacheProcess[]) => {
    const told = await Promise.all(others.map((other) => other.tell({ verb: 'tell what it swept', id: '' })))
    return told.reduce<number>((sum, each) => sum + (each as { swept: number }).swept, (await swept(here)) ?? 0)
  }

  it('are done by any other within the interval when it is killed between commit and invalidation', async () => {
    const id = await cachedUser()
    const [doomed, other] = await Promise.all([start(), start()])
    expect(await doomed.tell({ verb: 'rename and die at the commit', id, name: 'new' })).toBe('SIGKILL')
    await inTime(() => nameOf(here, id), 'new')
    expect(await other.tell({ verb: 'read', id })).toEqual({ name: 'new' })
    await noRows()
    expect(await sweptBy(other)).toBeGreaterThan(0)
  })

  it('are done for queries too, by what they depend on, when a process is killed between commit and invalidation', async () => {
    const userId = await cachedUser()
    const [doomed, other] = await Promise.all([start(), start()])
    const latest = async () => (await here.cached(latestScore).get({ userId }))?.occupationCode
    expect(await latest()).toBeUndefined()
    expect(await other.tell({ verb: 'latest score', id: userId })).toEqual({ occupationCode: null })
    expect(await doomed.tell({ verb: 'score and die at the commit', id: userId, name: '15-1252' })).toBe('SIGKILL')
    await inTime(latest, '15-1252')
    expect(await other.tell({ verb: 'latest score', id: userId })).toEqual({ occupationCode: '15-1252' })
    await noRows()
    expect(await sweptBy(other)).toBeGreaterThan(0)
  })

  it.each(['nativeUpdate', 'a query builder', 'upsert', 'insertMany'] as const)(
    'are done for %s outside a transaction too, when a process is killed between commit and invalidation',
    async (way) => {
      const id = way === 'insertMany' ? crypto.randomUUID() : await cachedUser()
      await isKept(id) // that there is no such row, too
      const doomed = await start()
      expect(await doomed.tell({ verb: 'write in bulk and die at the commit', way, id, name: 'new' })).toBe('SIGKILL')
      await inTime(() => nameOf(here, id), 'new')
      await noRows()
      expect(await swept(here)).toBeGreaterThan(0)
    },
  )

  it('are done for what was invalidated by hand when Redis does not answer', async () => {
    const id = await cachedUser()
    const proxy = await openProxyTo(redis.url)
    opened.push(proxy)
    const away = await open(database.url, proxy.url)
    await nameOf(away, id)
    await runSql(away.fork(), "update users set name = 'new' where id = ?", [id])
    expect(await nameOf(here, id)).toBe('old')
    proxy.stall()
    await away.cached(User).invalidate(id)
    await inTime(() => nameOf(here, id), 'new')
    await noRows()
    expect(await swept(here)).toBeGreaterThan(0)
  })

  it('are done by another process when Redis does not answer it', async () => {
    const id = await cachedUser()
    const proxy = await openProxyTo(redis.url)
    opened.push(proxy)
    const away = await start(proxy.url)
    await away.tell({ verb: 'read', id })
    proxy.stall()
    expect(await away.tell({ verb: 'rename', id, name: 'new' })).toEqual({ done: 'rename' })
    await inTime(() => nameOf(here, id), 'new')
    await noRows()
    expect(await swept(here)).toBeGreaterThan(0)
  })

  it('leave no row behind once they are acknowledged, also when the data access closes at once', async () => {
    const id = await cachedUser()
    await noRows()
    await here.unitOfWork(async ({ em }) => {
      ;(await em.findOneOrFail(User, id)).name = 'new'
      await here.unitOfWork(async (inner) => {
        ;(await inner.em.findOneOrFail(User, id)).name = 'newer'
      })
    })
    expect(await swept(here)).toBe(0)
    await here.close()
    here = await open()
    expect(await rows()).toBe(0)
  })

  it('are written as few keys for many rows, and those of another application are left alone', async () => {
    await here.unitOfWork(async ({ em }) => {
      for (let index = 0; index < 600; index++) em.create(User, { email: `${index}@innovateai.dev`, name: 'many' })
      await em.flush()
      em.getEventManager().registerSubscriber({
        beforeTransactionCommit: async () => {
          const [row] = await runSql<{ keys: string }>(em, 'select keys from cache_invalidations')
          expect(JSON.parse(row?.keys ?? '')).toEqual(['User#*'])
        },
      })
    })
    await noRows()
    const foreign = `insert into cache_invalidations (id, space, keys, created_at) values (?, 'another', '[]', ${
      dialect === 'sqlite' ? 0 : "'2000-01-01'"
    })`
    await runSql(here.fork(), foreign, [crypto.randomUUID()])
    await delay(1200) // longer than the interval: the caches of another application are not ours to sweep
    expect(await rows()).toBe(1)
  })

  it('neither wait for running transactions nor disturb them', async () => {
    const id = await cachedUser()
    await noRows()
    // After its first look, which its first read waits for, it leaves the sweep to the one that is to do it.
    const other = await open(database.url, redis.url, 60_000)
    await nameOf(other, id)
    const old = dialect === 'sqlite' ? 0 : "'2000-01-01'"
    const insert = `insert into cache_invalidations (id, space, keys, created_at) values (?, ?, '["User:${id}"]', ${old})`
    await runSql(here.fork(), insert, [crypto.randomUUID(), redis.prefix])
    const startedAt = performance.now()
    await other.unitOfWork(async ({ em }) => {
      ;(await em.findOneOrFail(User, id)).name = 'new'
      await em.flush() // holds the write lock of SQLite
      await expect.poll(() => swept(here), sweeping).toBeGreaterThan(0)
    })
    expect(performance.now() - startedAt).toBeLessThan(4500) // less than SQLite's busy timeout of 5 s
    expect((await here.fork().findOneOrFail(User, id)).name).toBe('new')
    await noRows()
  })
})

describe('a commit whose outcome is unknown', () => {
  it('expires what it changed when it takes place after all, and the cache was filled in between', async () => {
    const database = await openTestDatabase('postgresql')
    const redis = await openTestRedis()
    const open = (url: string) =>
      createDataAccess({
        ...{ modules: [assessment], database: { url }, logger: silentLogger },
        cache: redisCache({ url: inject('redisUrl'), prefix: redis.prefix, timeoutMs: 5000 }),
      })
    const direct = await open(database.url)
    await direct.migrate()
    const run = (sql: string) => runSql(direct.fork(), sql)
    await run(
      'create function slow_commit() returns trigger language plpgsql as $$ begin perform pg_sleep(2); return null; end $$',
    )
    await run(
      "create constraint trigger slow_commit after update on users deferrable initially deferred for each row when (new.name = 'new') execute function slow_commit()",
    )
    const { id } = await direct.unitOfWork(async ({ em }) => em.create(User, { email: 'alex@innovateai.dev', name: 'old' }))
    const proxy = await openProxyTo(database.url)
    const data = await open(proxy.url)
    const unit = data.unitOfWork(async ({ em }) => {
      ;(await em.findOneOrFail(User, id)).name = 'new'
      em.getEventManager().registerSubscriber({
        beforeTransactionCommit: async () => void delay(300).then(() => proxy.cut()),
      })
    })
    await expect(unit).rejects.toMatchObject({ code: 'COMMIT_OUTCOME_UNKNOWN' })
    // The server is still at it, and readers fill the cache with what is committed so far.
    expect((await direct.cached(userCache).get(id))?.name).toBe('old')
    expect((await direct.cached(userCache).get(id))?.name).toBe('old')
    expect(direct.cached(userCache).stats().hits).toBe(1)
    await expect.poll(async () => (await direct.cached(userCache).get(id))?.name, sweeping).toBe('new')
    await Promise.all([data.close(), direct.close()])
    await proxy.close()
    await redis.close()
    await database.close()
  })
})
