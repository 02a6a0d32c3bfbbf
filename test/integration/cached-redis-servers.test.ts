import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { cachePolicy } from '../../src/cache/policy.ts'
import { Author } from '../support/cache-entities.ts'
import { type CacheGroundOptions, openCacheGround } from '../support/cache-ground.ts'
import { dialects } from '../support/databases.ts'
import { closesOpened } from '../support/opened.ts'
import { cachedName, isServed, quietClient, rename } from '../support/served-authors.ts'
import { openRedisServer } from '../support/servers/restartable-servers.ts'
import { openProxy } from '../support/tcp-proxy.ts'

const patience = { timeout: 20_000, interval: 20 }

// Real servers, each of its own: what they answer is what Redis answers.
describe.each(dialects)('cached reads on %s when a Redis server', (dialect) => {
  const track = closesOpened()
  const openRedis = async (settings = {}) =>
    track(await openRedisServer({ appendonly: 'no', 'repl-diskless-sync-delay': 0, ...settings }))
  const openGround = async (redisUrl: string, options: CacheGroundOptions = {}) =>
    track(await openCacheGround(dialect, 'redis', { redisUrl, timeoutMs: 1000, ...options }))
  const adminOf = (url: string) => track(quietClient(url))

  test('crashes and comes back empty, there are misses only', async () => {
    const redis = await openRedis()
    const ground = await openGround(redis.url)
    const author = await ground.author({ name: 'old' })
    await isServed(ground, author.id)
    await redis.crash()
    expect(await cachedName(ground, author.id)).toBe('old')
    await rename(ground, author.id, 'new')
    expect(await cachedName(ground, author.id)).toBe('new')
    await redis.start()
    await isServed(ground, author.id)
    expect(await cachedName(ground, author.id)).toBe('new')
  })

  test('is full and evicts nothing, reads go to the database and commits still expire', async () => {
    const redis = await openRedis({ 'maxmemory-policy': 'noeviction' })
    const ground = await openGround(redis.url)
    const admin = adminOf(redis.url)
    const [cached, other] = [await ground.author({ name: 'old' }), await ground.author({ name: 'other' })]
    await isServed(ground, cached.id)
    await admin.config('SET', 'maxmemory', '1')
    await expect(admin.set('x', 'y')).rejects.toThrow('OOM')
    const { errors } = ground.cache.cached(Author).stats()
    expect(await cachedName(ground, other.id)).toBe('other')
    expect(ground.cache.cached(Author).stats().errors).toBeGreaterThan(errors)
    await rename(ground, cached.id, 'new')
    await expect.poll(() => admin.exists(`${ground.prefix}Author:${cached.id}`), patience).toBe(0) // deleting needs no memory
    expect(await cachedName(ground, cached.id)).toBe('new')
    await admin.config('SET', 'maxmemory', '0')
    await isServed(ground, cached.id)
    expect(await cachedName(ground, cached.id)).toBe('new')
  })

  test('is demoted, what it refuses READONLY expires at the server that took its place', async () => {
    const [first, second] = [await openRedis(), await openRedis()]
    const [firstPort, secondPort] = [first, second].map(({ url }) => Number(new URL(url).port)) as [number, number]
    const proxy = track(await openProxy(firstPort))
    const ground = await openGround(`redis://127.0.0.1:${proxy.port}`)
    const author = await ground.author({ name: 'old' })
    await isServed(ground, author.id)
    const [demoted, promoted] = [adminOf(first.url), adminOf(second.url)]
    await promoted.replicaof('127.0.0.1', firstPort)
    const key = `${ground.prefix}Author:${author.id}`
    await expect.poll(() => promoted.get(key), patience).toMatch(/^V/)

    await promoted.replicaof('NO', 'ONE')
    await demoted.replicaof('127.0.0.1', secondPort)
    await rename(ground, author.id, 'new') // the old primary answers READONLY
    expect(ground.cache.stats().invalidations.unacknowledged).toBeGreaterThan(0)
    expect(await cachedName(ground, author.id)).toBe('new')
    expect(await promoted.get(key)).toMatch(/^V/)
    proxy.leadTo(secondPort)
    await isServed(ground, author.id)
    expect(await cachedName(ground, author.id)).toBe('new')
    expect(await promoted.get(key)).toContain('new')
  })

  test('fails over and loses an invalidation, there are misses only, and the ttl bounds what it holds', async () => {
    const [first, second] = [await openRedis(), await openRedis()]
    const [firstPort, secondPort] = [first, second].map(({ url }) => Number(new URL(url).port)) as [number, number]
    const proxy = track(await openProxy(firstPort))
    const ground = await openGround(`redis://127.0.0.1:${proxy.port}`)
    const author = await ground.author({ name: 'old' })
    await isServed(ground, author.id)
    const promoted = adminOf(second.url)
    await promoted.replicaof('127.0.0.1', firstPort)
    await expect.poll(() => promoted.exists(`${ground.prefix}Author:${author.id}`), patience).toBe(1)

    await promoted.replicaof('NO', 'ONE') // before the old primary tells it of the commit
    await rename(ground, author.id, 'new')
    await first.crash()
    proxy.leadTo(secondPort)
    const keys = await promoted.keys(`${ground.prefix}*`)
    const entry = `${ground.prefix}Author:${author.id}`
    expect(keys).toContain(entry)
    for (const key of keys) expect(await promoted.pttl(key)).toBeGreaterThan(0) // -1 would be for ever
    expect(await promoted.pttl(entry)).toBeLessThanOrEqual(60_000)
    await isServed(ground, author.id)
    expect(await cachedName(ground, author.id)).toBe('new')
  })

  test('fails over and loses an invalidation, and does not tell which run of a server answers, the ttl is the bound', async () => {
    const [first, second] = [await openRedis(), await openRedis()]
    const [firstPort, secondPort] = [first, second].map(({ url }) => Number(new URL(url).port)) as [number, number]
    const proxy = track(await openProxy(firstPort))
    const [demoted, promoted] = [adminOf(first.url), adminOf(second.url)]
    for (const admin of [demoted, promoted]) {
      await admin.call('ACL', 'SETUSER', 'cache', 'on', '>secret', '+@all', '-info', '~*', '&*')
    }
    const ttl = 300
    const caches = [cachePolicy(Author, { ttl, jitter: 0 })]
    const ground = await openGround(`redis://cache:secret@127.0.0.1:${proxy.port}`, { caches })
    const author = await ground.author({ name: 'old' })
    await promoted.replicaof('127.0.0.1', firstPort)
    const isCopied = async () => {
      await cachedName(ground, author.id)
      return promoted.exists(`${ground.prefix}Author:${author.id}`)
    }
    await expect.poll(isCopied, patience).toBe(1)

    await promoted.replicaof('NO', 'ONE') // before the old primary tells it of the commit
    await rename(ground, author.id, 'new')
    const committedAt = performance.now() // or before
    await first.crash()
    proxy.leadTo(secondPort)
    for (;;) {
      const begunMs = performance.now() - committedAt
      const { hits } = ground.cache.cached(Author).stats()
      const name = await cachedName(ground, author.id)
      if (name === 'new' && ground.cache.cached(Author).stats().hits > hits) break
      // Ten times the ttl: a slow machine sees the end of it late.
      if (name !== 'new' && begunMs > 10 * ttl) expect.fail(`a read begun ${begunMs} ms after the commit gave ${name}`)
      await delay(10)
    }
  })
})
