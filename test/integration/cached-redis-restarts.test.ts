import { beforeEach, describe, expect, test } from 'vitest'
import { Author } from '../support/cache-entities.ts'
import { type CacheGround, type CacheGroundOptions, openCacheGround } from '../support/cache-ground.ts'
import { dialects } from '../support/databases.ts'
import { closesOpened } from '../support/opened.ts'
import { parkNextLoad } from '../support/parked-load.ts'
import { cachedName, isServed, type QuietClientOptions, quietClient, rename } from '../support/served-authors.ts'
import { openRedisServer, type RestartableServer } from '../support/servers/restartable-servers.ts'

const patience = { timeout: 20_000, interval: 20 }

// As Redis is installed: now and then it writes a snapshot, and a crash takes it back to the last one.
describe.each(dialects)('cached reads on %s when Redis crashes and comes back with its last snapshot', (dialect) => {
  const track = closesOpened()
  let redis: RestartableServer
  beforeEach(async () => {
    redis = track(await openRedisServer({ appendonly: 'no', save: '3600 1 300 100 60 10000' }))
  })
  const connect = (options: QuietClientOptions = {}) => track(quietClient(redis.url, options))
  const openGround = async (options: CacheGroundOptions = {}) =>
    track(await openCacheGround(dialect, 'redis', { redisUrl: redis.url, timeoutMs: 1000, ...options }))
  const acknowledged = async (ground: CacheGround, id: string) => {
    // The very first commits may come before the connection.
    const { unacknowledged } = ground.cache.stats().invalidations
    await rename(ground, id, 'new')
    expect(ground.cache.stats().invalidations.unacknowledged).toBe(unacknowledged)
  }
  /** Ends it as a power cut does, some time after a snapshot. */
  const crash = async () => {
    await redis.crash()
    await redis.start()
  }

  const ways: readonly { way: string; options: () => CacheGroundOptions }[] = [
    { way: 'over a URL', options: () => ({}) },
    { way: "over the caller's own client", options: () => ({ redisClient: connect() }) },
    { way: 'with copies in the process', options: () => ({ tier: { ttl: 60_000 } }) },
  ]

  test.each(ways)('an entry that an acknowledged commit has ended is no hit, $way', async ({ options }) => {
    const ground = await openGround(options())
    const other = await ground.openOther()
    const author = await ground.author({ name: 'old' })
    await isServed(ground, author.id)
    await isServed(other, author.id)
    const admin = connect()
    await admin.save()
    await acknowledged(ground, author.id)
    await crash()
    await expect.poll(() => admin.get(`${ground.prefix}Author:${author.id}`).catch(() => ''), patience).toContain('old')
    for (const each of [ground, other]) {
      await expect.poll(() => each.cache.ping().catch(() => 0), patience).toBeGreaterThan(0)
      expect(await cachedName(each, author.id)).toBe('new')
      await isServed(each, author.id)
      expect(await cachedName(each, author.id)).toBe('new')
    }
  })

  test('a lease that an acknowledged commit has ended lets nobody keep or share what was read before', async () => {
    const ground = await openGround()
    const other = await ground.openOther()
    const author = await ground.author({ name: 'old' })
    await isServed(ground, (await ground.author()).id) // so it has leases from now on
    const load = parkNextLoad(ground.orm)
    const slow = ground.cache.cached(Author).get(author.id)
    await load.parked
    const admin = connect()
    await admin.save()
    await acknowledged(other, author.id)
    await crash()
    const key = `${ground.prefix}Author:${author.id}`
    await expect.poll(() => admin.get(key).catch(() => ''), patience).toMatch(/^L/)
    await expect.poll(() => ground.cache.ping().catch(() => 0), patience).toBeGreaterThan(0)
    expect(await cachedName(ground, author.id)).toBe('new')
    load.resume()
    expect((await slow)?.name).toBe('old') // it began before the commit
    await expect.poll(() => cachedName(other, author.id), patience).toBe('new')
    await isServed(other, author.id)
    expect(await cachedName(other, author.id)).toBe('new')
    expect(await cachedName(ground, author.id)).toBe('new')
  })

  test('a user who may not ask who Redis is has hits all the same', async () => {
    await connect().call('ACL', 'SETUSER', 'guest', 'on', '>secret', '~*', '&*', '+@all', '-info')
    const redisClient = connect({ username: 'guest', password: 'secret', enableReadyCheck: false })
    const ground = await openGround({ redisClient })
    const author = await ground.author({ name: 'old' })
    await isServed(ground, author.id)
    await acknowledged(ground, author.id)
    expect(await cachedName(ground, author.id)).toBe('new')
  })
})
