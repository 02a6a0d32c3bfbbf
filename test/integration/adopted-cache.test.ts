import type { EntityManager, EventSubscriber, MikroORM } from '@mikro-orm/core'
import { beforeEach, describe, expect, test } from 'vitest'
import { assessment, latestScore, User } from '../../src/assessment/index.ts'
import { memoryCache } from '../../src/cache/cache-choice.ts'
import { redisCache } from '../../src/cache/redis/redis-cache.ts'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { silentLogger } from '../../src/kernel/logger.ts'
import { createScore } from '../support/assessment-orm.ts'
import { cacheCombinations, type StoreName } from '../support/cache-ground.ts'
import { startCacheProcess } from '../support/cache-process.ts'
import { dialects, openTestDatabase, type TestDatabase, type TestDialect } from '../support/databases.ts'
import { closesOpened } from '../support/opened.ts'
import { openOwnOrm } from '../support/own-orm.ts'
import { openTestRedis, type TestRedis } from '../support/redis.ts'
import { openProxyTo, type UrlProxy } from '../support/tcp-proxy.ts'

const patience = { timeout: 20_000, interval: 20 }

/** A subscriber of the application that fails at one kind of event. */
class Audit implements EventSubscriber {
  fails: 'afterFlush' | 'afterTransactionCommit' | undefined

  afterFlush(): void {
    this.#failAt('afterFlush')
  }
  async afterTransactionCommit(): Promise<void> {
    this.#failAt('afterTransactionCommit')
  }
  #failAt(event: Audit['fails']): void {
    if (this.fails === event) throw new Error('the audit is away')
  }
}

/** An application's own ORM and a data access around it, one of another process, and a door to Redis for the first alone. */
function adoptedGround(dialect: TestDialect, store: StoreName) {
  const track = closesOpened()
  let ground: {
    database: TestDatabase
    redis: TestRedis
    proxy: UrlProxy
    audit: Audit
    orm: MikroORM
    here: DataAccess
    other: DataAccess | undefined
    userId: string
  }
  beforeEach(async () => {
    const database = track(await openTestDatabase(dialect))
    const redis = track(await openTestRedis())
    const proxy = track(await openProxyTo(redis.url))
    const audit = new Audit()
    const orm = track(await openOwnOrm(database.url, [assessment], { subscribers: [audit] }))
    const cacheAt = (url: string) =>
      store === 'memory'
        ? memoryCache({ singleProcess: true })
        : redisCache({ url, prefix: redis.prefix, timeoutMs: 5000, sweepMs: 300 })
    const here = track(await createDataAccess({ orm, cache: cacheAt(proxy.url) }))
    await here.migrate()
    const opening = { modules: [assessment], database: { url: database.url }, cache: cacheAt(redis.url), logger: silentLogger }
    const other = store === 'memory' ? undefined : track(await createDataAccess(opening))
    const { id } = await here.unitOfWork(async ({ em }) => em.create(User, { email: 'alex@innovateai.dev', name: 'old' }))
    ground = { database, redis, proxy, audit, orm, here, other, userId: id }
  })
  const nameIn = async (data: DataAccess) => (await data.cached(User).get(ground.userId))?.name
  return {
    get: () => ground,
    nameIn,
    /** Reads until it is a hit. */
    keeps: async (data: DataAccess, name: string) => {
      const { hits } = data.cached(User).stats()
      const hitsNow = () => nameIn(data).then(() => data.cached(User).stats().hits)
      await expect.poll(hitsNow, patience).toBeGreaterThan(hits)
      expect(await nameIn(data)).toBe(name)
    },
    sweptBy: async (data: DataAccess) => (await data.stats()).cache?.invalidations.swept,
    start: async () => {
      const { database, redis } = ground
      const child = await startCacheProcess({
        ...{ url: database.url, redisUrl: redis.url, prefix: redis.prefix },
        adopted: true,
      })
      track({ close: () => child.kill() })
      return child
    },
  }
}

/** Changes a name in an entity manager whose flush is to fail. */
const rename = async (em: EntityManager, id: string, name: string) => {
  ;(await em.findOneOrFail(User, id)).name = name
  await expect(em.flush()).rejects.toThrow('the audit is away')
}

const failures: readonly {
  readonly what: string
  readonly fails: Audit['fails']
  write(orm: MikroORM, audit: Audit, id: string, name: string): Promise<void>
}[] = [
  {
    what: 'afterTransactionCommit of a flush',
    fails: 'afterTransactionCommit',
    write: (orm, _audit, id, name) => rename(orm.em.fork(), id, name),
  },
  { what: 'afterFlush of a flush', fails: 'afterFlush', write: (orm, _audit, id, name) => rename(orm.em.fork(), id, name) },
  {
    what: 'afterFlush in a transaction that commits all the same',
    fails: 'afterFlush',
    write: (orm, audit, id, name) =>
      orm.em.fork().transactional(async (em) => {
        await rename(em, id, name)
        audit.fails = undefined
        em.clear() // what it does next tells nothing of that flush
      }),
  },
]

describe.each(cacheCombinations)(
  "the cache of an application's own ORM on $dialect with the $store store",
  ({ dialect, store }) => {
    const ground = adoptedGround(dialect, store)

    test.each(failures)('hears of a commit although a subscriber throws in $what', async ({ fails, write }) => {
      const { orm, audit, here, other, proxy, userId } = ground.get()
      const commit = async (name: string) => {
        audit.fails = fails
        await write(orm, audit, userId, name)
        audit.fails = undefined
      }
      await ground.keeps(here, 'old')
      await commit('new')
      expect(await ground.nameIn(here)).toBe('new')
      if (other === undefined) return
      await expect.poll(() => ground.nameIn(other), patience).toBe('new')

      // And leaves it to be swept where Redis does not hear of it.
      await ground.keeps(other, 'new')
      proxy.stall()
      await commit('newest')
      expect(await ground.nameIn(here)).toBe('newest')
      await expect.poll(() => ground.nameIn(other), patience).toBe('newest')
      expect(await ground.sweptBy(other)).toBeGreaterThan(0)
      proxy.resume()
    })
  },
)

describe.each(dialects)("the cache of an application's own ORM on %s with Redis", (dialect) => {
  const ground = adoptedGround(dialect, 'redis')

  test('expires, for all processes, what the database deletes with a row', async () => {
    const { orm, here, other, userId } = ground.get()
    const em = orm.em.fork()
    createScore(em, await em.findOneOrFail(User, userId), 71.5)
    await em.flush()
    const scores = [here, other as DataAccess].map(
      (data) => async () => (await data.cached(latestScore).get({ userId }))?.airScore,
    )
    for (const score of scores) await expect.poll(score, patience).toBe(71.5)
    const remover = orm.em.fork()
    await remover.remove(await remover.findOneOrFail(User, userId)).flush()
    for (const score of scores) await expect.poll(score, patience).toBeUndefined()
  })

  test('expires, for all processes, what is written in bulk outside a transaction', async () => {
    const { orm, here, other, userId } = ground.get()
    const both = [here, other as DataAccess]
    for (const data of both) await ground.keeps(data, 'old')
    await orm.em.fork().nativeUpdate(User, { id: userId }, { name: 'new' })
    for (const data of both) await expect.poll(() => ground.nameIn(data), patience).toBe('new')
  })

  test('is swept by another process when its own is killed between commit and invalidation, of a flush or a bulk write', async () => {
    const { here, userId: id } = ground.get()
    const other = ground.get().other as DataAccess
    const [first, second] = await Promise.all([ground.start(), ground.start()])
    await ground.keeps(other, 'old')
    expect(await first.tell({ verb: 'rename and die at the commit', id, name: 'new' })).toBe('SIGKILL')
    await expect.poll(() => ground.nameIn(other), patience).toBe('new')
    await ground.keeps(other, 'new')
    const order = { verb: 'write in bulk and die at the commit', way: 'nativeUpdate', id, name: 'newest' } as const
    expect(await second.tell(order)).toBe('SIGKILL')
    await expect.poll(() => ground.nameIn(other), patience).toBe('newest')
    const swept = [await ground.sweptBy(here), await ground.sweptBy(other)].map(Number)
    expect(Math.max(...swept)).toBeGreaterThan(0)
  })
})
