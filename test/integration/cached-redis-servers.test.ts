import { Redis } from 'ioredis'
import { afterEach, describe, expect, test } from 'vitest'
import { Author } from '../support/cache-entities.ts'
import { type CacheGround, openCacheGround } from '../support/cache-ground.ts'
import { dialects } from '../support/databases.ts'
import { openRedisServer } from '../support/servers/restartable-servers.ts'
import { openProxy } from '../support/tcp-proxy.ts'

const patience = { timeout: 20_000, interval: 20 }

// Real servers, each of its own: what they answer is what Redis answers.
describe.each(dialects)('cached reads on %s when a Redis server', (dialect) => {
  const opened: { close(): Promise<unknown> }[] = []
  afterEach(async () => {
    for (const each of opened.splice(0).reverse()) await each.close()
  })
  const track = <T extends { close(): Promise<unknown> }>(each: T): T => {
    opened.push(each)
    return each
  }
  const openRedis = async (settings = {}) =>
    track(await openRedisServer({ appendonly: 'no', 'repl-diskless-sync-delay': 0, ...settings }))
  const openGround = async (redisUrl: string) => track(await openCacheGround(dialect, 'redis', { redisUrl, timeoutMs: 1000 }))
  const adminOf = (url: string) => {
    const client = new Redis(url)
    client.on('error', () => undefined)
    track({ close: async () => client.disconnect() })
    return client
  }
  const rename = async (ground: CacheGround, id: string, name: string) => {
    const em = ground.fork()
    ;(await em.findOneOrFail(Author, id)).name = name
    await em.flush()
  }
  const nameOf = async (ground: CacheGround, id: string) => (await ground.cache.cached(Author).get(id))?.name
  const inService = (ground: CacheGround, id: string) =>
    expect
      .poll(async () => {
        const { hits } = ground.cache.cached(Author).stats()
        await ground.cache.cached(Author).get(id)
        return ground.cache.cached(Author).stats().hits - hits
      }, patience)
      .toBe(1)

  test('crashes and comes back empty, there are misses only', async () => {
    const redis = await openRedis()
    const ground = await openGround(redis.url)
    const author = await ground.author({ name: 'old' })
    await inService(ground, author.id)
    await redis.crash()
    expect(await nameOf(ground, author.id)).toBe('old')
    await rename(ground, author.id, 'new')
    expect(await nameOf(ground, author.id)).toBe('new')
    await redis.start()
    await inService(ground, author.id)
    expect(await nameOf(ground, author.id)).toBe('new')
  })

  test('is full and evicts nothing, reads go to the database and commits still expire', async () => {
    const redis = await openRedis({ 'maxmemory-policy': 'noeviction' })
    const ground = await openGround(redis.url)
    const admin = adminOf(redis.url)
    const [cached, other] = [await ground.author({ name: 'old' }), await ground.author({ name: 'other' })]
    await inService(ground, cached.id)
    await admin.config('SET', 'maxmemory', '1')
    await expect(admin.set('x', 'y')).rejects.toThrow('OOM')
    const { errors } = ground.cache.cached(Author).stats()
    expect(await nameOf(ground, other.id)).toBe('other')
    expect(ground.cache.cached(Author).stats().errors).toBeGreaterThan(errors)
    await rename(ground, cached.id, 'new')
    await expect.poll(() => admin.exists(`${ground.prefix}Author:${cached.id}`), patience).toBe(0) // deleting needs no memory
    expect(await nameOf(ground, cached.id)).toBe('new')
    await admin.config('SET', 'maxmemory', '0')
    await inService(ground, cached.id)
    expect(await nameOf(ground, cached.id)).toBe('new')
  })

  test('is demoted, what it refuses READONLY expires at the server that took its place', async () => {
    const [first, second] = [await openRedis(), await openRedis()]
    const [firstPort, secondPort] = [first, second].map(({ url }) => Number(new URL(url).port)) as [number, number]
    const proxy = track(await openProxy(firstPort))
    const ground = await openGround(`redis://127.0.0.1:${proxy.port}`)
    const author = await ground.author({ name: 'old' })
    await inService(ground, author.id)
    const [demoted, promoted] = [adminOf(first.url), adminOf(second.url)]
    await promoted.replicaof('127.0.0.1', firstPort)
    const key = `${ground.prefix}Author:${author.id}`
    await expect.poll(() => promoted.get(key), patience).toMatch(/^V/)

    await promoted.replicaof('NO', 'ONE')
    await demoted.replicaof('127.0.0.1', secondPort)
    await rename(ground, author.id, 'new') // the old primary answers READONLY
    expect(ground.cache.stats().invalidations.unacknowledged).toBeGreaterThan(0)
    expect(await nameOf(ground, author.id)).toBe('new')
    expect(await promoted.get(key)).toMatch(/^V/)
    proxy.leadTo(secondPort)
    await inService(ground, author.id)
    expect(await nameOf(ground, author.id)).toBe('new')
    expect(await promoted.get(key)).toContain('new')
  })

  test('fails over and loses an invalidation, there are misses only, and the ttl bounds what it holds', async () => {
    const [first, second] = [await openRedis(), await openRedis()]
    const [firstPort, secondPort] = [first, second].map(({ url }) => Number(new URL(url).port)) as [number, number]
    const proxy = track(await openProxy(firstPort))
    const ground = await openGround(`redis://127.0.0.1:${proxy.port}`)
    const author = await ground.author({ name: 'old' })
    await inService(ground, author.id)
    const promoted = adminOf(second.url)
    await promoted.replicaof('127.0.0.1', firstPort)
    await expect.poll(() => promoted.exists(`${ground.prefix}Author:${author.id}`), patience).toBe(1)

    await promoted.replicaof('NO', 'ONE') // before the old primary tells it of the commit
    await rename(ground, author.id, 'new')
    await first.crash()
    proxy.leadTo(secondPort)
    const left = await Promise.all((await promoted.keys(`${ground.prefix}*`)).map((key) => promoted.pttl(key)))
    expect(left.length).toBeGreaterThan(0)
    for (const ms of left) {
      expect(ms).toBeGreaterThan(0) // -1 would be for ever
      expect(ms).toBeLessThanOrEqual(60_000)
    }
    await inService(ground, author.id)
    expect(await nameOf(ground, author.id)).toBe('new')
  })
})
