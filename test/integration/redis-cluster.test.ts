import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, test } from 'vitest'
import { assessment, User, userCache } from '../../src/assessment/index.ts'
import type { CacheStore } from '../../src/cache/cache-store.ts'
import { redisCache } from '../../src/cache/redis/redis-cache.ts'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { runSql } from '../../src/database/sql.ts'
import { silentLogger } from '../../src/kernel/logger.ts'
import { cacheStoreContract } from '../../src/testing/cache-store-contract.ts'
import { dialects, openTestDatabase, type TestDatabase, type TestDialect } from '../support/databases.ts'
import { openTestCluster, type TestCluster } from '../support/redis-cluster.ts'

let cluster: TestCluster
beforeAll(async () => {
  cluster = await openTestCluster()
})
afterAll(() => cluster?.close())

describe('the Redis store on a cluster of three nodes', () => {
  test.each(cacheStoreContract())('$name', async ({ run }) => {
    const stores: CacheStore[] = []
    try {
      await run({
        open: async () => {
          const store = redisCache({ client: await cluster.connect(), timeoutMs: 5000 }).open({ logger: silentLogger })
          stores.push(store)
          return store
        },
        pass: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
      })
    } finally {
      for (const store of stores) await store.close()
    }
  })
})

describe.each(dialects)('units of work on %s with a cache in a cluster', (dialect: TestDialect) => {
  let database: TestDatabase
  let here: DataAccess
  let there: DataAccess
  beforeEach(async () => {
    database = await openTestDatabase(dialect)
    const open = async () =>
      createDataAccess({
        ...{ modules: [assessment], database: { url: database.url }, logger: silentLogger },
        cache: redisCache({ client: await cluster.connect(), timeoutMs: 5000 }),
      })
    here = await open()
    await here.migrate()
    there = await open()
  })
  afterEach(async () => {
    await here.close()
    await there.close()
    await database.close()
  })

  it('expire rows and lookups on all nodes, for every process', async () => {
    const users = await here.unitOfWork(async ({ em }) =>
      Array.from({ length: 30 }, (_, n) => em.create(User, { email: `user-${n}@cluster.example`, name: 'old' })),
    )
    const ids = users.map(({ id }) => id)
    const cached = there.cached(userCache)
    await cached.getMany(ids)
    for (const { email } of users) await cached.byEmail(email)
    const { hits } = cached.stats()
    expect((await cached.getMany(ids)).map((user) => user?.name)).toEqual(ids.map(() => 'old'))
    expect(cached.stats().hits).toBe(hits + ids.length)
    const unacknowledged = async () => (await here.stats()).cache?.invalidations.unacknowledged
    const before = await unacknowledged()
    await here.unitOfWork(async ({ em }) => {
      for (const user of await em.find(User, { id: { $in: ids } }))
        Object.assign(user, { name: 'new', email: `new-${user.email}` })
    })
    if ((await unacknowledged()) !== before) {
      // Not within 100 ms, on a slow machine: a sweep expires it, and then removes the row.
      const rows = () => runSql(here.fork(), 'select id from cache_invalidations')
      await expect.poll(rows, { timeout: 10_000 }).toEqual([])
    }
    expect((await cached.getMany(ids)).map((user) => user?.name)).toEqual(ids.map(() => 'new'))
    expect(await Promise.all(users.map(({ email }) => cached.byEmail(email)))).toEqual(users.map(() => null))
  })

  it('drop the copies of a process when the connection that hears the bus is another one, of which ioredis tells nothing', async () => {
    const client = await cluster.connect()
    const prefix = `copies-${dialect}:`
    const data = await createDataAccess({
      ...{ modules: [assessment], database: { url: database.url }, logger: silentLogger },
      cache: redisCache({ client, prefix, timeoutMs: 5000, tier: { ttl: 60_000 } }),
    })
    const { id } = await data.unitOfWork(async ({ em }) => em.create(User, { email: 'alex@cluster.example', name: 'old' }))
    const nameOf = async () => (await data.cached(userCache).get(id))?.name
    const atHand = async () => {
      await nameOf()
      return data.cached(userCache).stats().atHand
    }
    await expect.poll(atHand, { timeout: 20_000, interval: 5 }).toBeGreaterThan(0)
    // Expired by another process, whose message falls between two connections.
    await runSql(data.fork(), "update users set name = 'new' where id = ?", [id])
    await client.unlink(`${prefix}User:${id}`)
    expect(await nameOf()).toBe('old')
    for (const node of client.nodes('master')) await node.client('KILL', 'TYPE', 'PUBSUB')
    // Long before the copies end by themselves.
    await expect.poll(nameOf, { timeout: 20_000, interval: 5 }).toBe('new')
    await data.close()
  })
})
