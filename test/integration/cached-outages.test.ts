import { Redis } from 'ioredis'
import { afterEach, describe, expect, inject, test, vi } from 'vitest'
import { Author, latestBook } from '../support/cache-entities.ts'
import { type CacheGround, type CacheGroundOptions, openCacheGround } from '../support/cache-ground.ts'
import { dialects } from '../support/databases.ts'
import { MemoryLogger } from '../support/memory-logger.ts'
import { commitBoundMs, readBoundMs, timed } from '../support/outage-bounds.ts'
import { parkNextLoad } from '../support/parked-load.ts'
import { cachedName, givenUntilServed, isServed, rename } from '../support/served-authors.ts'
import { openProxyTo, type TcpProxy } from '../support/tcp-proxy.ts'

const patience = { timeout: 20_000, interval: 5 }

describe.each(dialects)('cached reads on %s while Redis is in trouble', (dialect) => {
  const opened: { close(): Promise<unknown> }[] = []
  afterEach(async () => {
    for (const each of opened.splice(0).reverse()) await each.close()
  })

  const openGround = async (options: CacheGroundOptions = {}) => {
    const ground = await openCacheGround(dialect, 'redis', { timeoutMs: 50, ...options })
    opened.push(ground)
    return ground
  }
  const openProxied = async () => {
    const proxy = await openProxyTo(inject('redisUrl'))
    opened.push(proxy)
    return { proxy, url: proxy.url }
  }
  /** A client of the caller's, with default settings. */
  const openClient = (url: string) => {
    const client = new Redis(url)
    client.on('error', () => undefined)
    opened.push({ close: async () => client.disconnect() })
    return client
  }
  /** Reads what is not there, and gives what its call of the store failed with. */
  const failureOf = async (ground: CacheGround) => {
    const failures: string[] = []
    const authors = ground.cache.cached(Author)
    const stop = authors.on('storeFailed', ({ error }) => failures.push(error.message))
    const { result, ms } = await timed(authors.get(crypto.randomUUID()))
    stop()
    expect(result).toBeNull()
    expect(ms).toBeLessThan(readBoundMs)
    return failures[0]
  }
  /** Why the log says that invalidations were not acknowledged. */
  const causesIn = ({ warnings }: MemoryLogger) =>
    warnings.filter(({ message }) => message.includes('did not acknowledge')).map(({ context }) => context?.cause)

  interface Trouble {
    readonly name: string
    begin(proxy: TcpProxy): Promise<void>
    end(proxy: TcpProxy): Promise<void>
    /** What a command is told that waits so long. */
    told(ms: number): RegExp
  }
  const troubles: readonly Trouble[] = [
    {
      ...{ name: 'refuses connections', begin: (proxy) => proxy.refuse(), end: (proxy) => proxy.accept() },
      told: (ms) => new RegExp(`is not connected|within ${ms} ms`),
    },
    {
      ...{ name: 'is stalled', begin: async (proxy) => proxy.stall(), end: async (proxy) => proxy.resume() },
      told: (ms) => new RegExp(`gave no answer within ${ms} ms`),
    },
  ]
  const troublesOfEach = troubles.flatMap((trouble) => [
    { ...trouble, whose: 'by our own client', through: (redisUrl: string): CacheGroundOptions => ({ redisUrl }) },
    {
      ...trouble,
      whose: "by a caller's client with default settings",
      through: (url: string) => ({ redisClient: openClient(url) }),
    },
  ])

  test.each(troublesOfEach)(
    'a Redis that $name at the start, $whose, leaves reads and commits bounded',
    async ({ begin, end, told, through }) => {
      const { proxy, url } = await openProxied()
      await begin(proxy)
      const logger = new MemoryLogger()
      const ground = await openGround({ ...through(url), logger })
      expect(await failureOf(ground)).toMatch(told(50))
      const { result: author, ms } = await timed(ground.author({ name: 'old' }))
      expect(ms).toBeLessThan(commitBoundMs)
      expect(causesIn(logger)).toEqual([expect.stringMatching(told(100))])
      for (let i = 0; i < 5; i++) {
        const read = await timed(ground.cache.cached(Author).get(author.id))
        expect(read.result?.name).toBe('old')
        expect(read.ms).toBeLessThan(readBoundMs)
      }
      await end(proxy)
      await isServed(ground, author.id)
    },
  )

  test.each(troublesOfEach)(
    'what changes while Redis $name, $whose, is swept before this process reads from Redis again',
    async ({ begin, end, told, through }) => {
      const { proxy, url } = await openProxied()
      const logger = new MemoryLogger()
      const ground = await openGround({ ...through(url), logger })
      const author = await ground.author({ name: 'old' })
      await isServed(ground, author.id)
      expect(await ground.cache.cached(latestBook).get({ authorId: author.id })).toBeNull()
      logger.warnings.length = 0

      await begin(proxy)
      expect(await failureOf(ground)).toMatch(told(50))
      expect((await timed(rename(ground, author.id, 'new'))).ms).toBeLessThan(commitBoundMs)
      expect(causesIn(logger)).toEqual([expect.stringMatching(told(100))])
      await ground.book(author, 3)
      expect(ground.cache.stats().invalidations).toMatchObject({ waiting: expect.any(Number) })
      expect(ground.cache.stats().invalidations.unacknowledged).toBeGreaterThan(0)
      const read = await timed(ground.cache.cached(Author).get(author.id))
      expect(read.result?.name).toBe('new')
      expect(read.ms).toBeLessThan(readBoundMs)

      await end(proxy)
      const shown = async () => {
        const latest = await ground.cache.cached(latestBook).get({ authorId: author.id })
        return `${await cachedName(ground, author.id)}, ${latest?.edition}`
      }
      expect(await givenUntilServed(ground, shown)).toEqual(['new, 3'])
      expect(await shown()).toBe('new, 3')
    },
  )

  test('a loader overtaken by a commit that Redis did not hear of keeps nothing for other processes', async () => {
    const { proxy, url } = await openProxied()
    const ground = await openGround({ redisUrl: url, timeoutMs: 5000 })
    const author = await ground.author({ name: 'old' })
    await vi.waitFor(() => ground.cache.ping(), { timeout: 15_000 })
    const load = parkNextLoad(ground.orm)
    const slow = ground.cache.cached(Author).get(author.id)
    await load.parked
    await proxy.refuse()
    await rename(ground, author.id, 'new')
    expect(ground.cache.stats().invalidations.waiting).toBeGreaterThan(0)
    await proxy.accept()
    await vi.waitFor(() => ground.cache.ping(), { timeout: 15_000 })
    load.resume()
    expect((await slow)?.name).toBe('old')
    const other = await ground.openOther()
    expect((await other.cache.cached(Author).get(author.id))?.name).toBe('new')
    await expect.poll(() => ground.cache.cached(Author).stats().refusedFills, patience).toBe(1)
  })

  test('many readers during an outage share loads, and none gets what was before it', async () => {
    const { proxy, url } = await openProxied()
    await proxy.refuse()
    const ground = await openGround({ redisUrl: url })
    const author = await ground.author({ name: 'old' })
    const authors = ground.cache.cached(Author)
    const { loads } = authors.stats()
    await Promise.all(Array.from({ length: 100 }, () => authors.get(author.id)))
    expect(authors.stats().loads - loads).toBeLessThan(10)
    const load = parkNextLoad(ground.orm)
    const slow = authors.get(author.id)
    await load.parked
    await rename(ground, author.id, 'new')
    expect((await authors.get(author.id))?.name).toBe('new')
    load.resume()
    expect((await slow)?.name).toBe('old')
  })

  test.each(['READONLY You can not write against a read only replica.', 'OOM command not allowed when used memory > maxmemory.'])(
    'a Redis that answers writes with "%s" leaves reads and commits bounded, and what changed expires once it takes writes again',
    async (message) => {
      const client = new Redis(inject('redisUrl'), { enableReadyCheck: false })
      opened.push({ close: async () => client.disconnect() })
      const writes = new Set(['eval', 'evalsha', 'unlink', 'del'])
      let faulty = false
      const { sendCommand } = client
      client.sendCommand = (command, stream) => {
        if (!faulty || !writes.has(command.name)) return sendCommand.call(client, command, stream)
        command.reject(Object.assign(new Error(message), { name: 'ReplyError' }))
        return command.promise
      }
      // Longer than the bounds: what is refused is not waited for.
      const ground = await openGround({ redisClient: client, timeoutMs: 5000 })
      const author = await ground.author({ name: 'old' })
      await isServed(ground, author.id)
      faulty = true
      expect((await timed(rename(ground, author.id, 'new'))).ms).toBeLessThan(commitBoundMs)
      for (let i = 0; i < 5; i++) {
        const read = await timed(cachedName(ground, author.id))
        expect(read.result).toBe('new')
        expect(read.ms).toBeLessThan(readBoundMs)
      }
      expect(ground.cache.stats().invalidations.waiting).toBeGreaterThan(0)
      faulty = false
      expect(await givenUntilServed(ground, () => cachedName(ground, author.id))).toEqual(['new'])
      expect(await cachedName(ground, author.id)).toBe('new')
    },
  )

  test('a key that holds another type is answered from the database', async () => {
    const ground = await openGround({ timeoutMs: 5000 })
    const author = await ground.author()
    const client = new Redis(inject('redisUrl'))
    opened.push({ close: async () => client.disconnect() })
    await client.rpush(`${ground.prefix}Author:${author.id}`, 'no entry')
    const authors = ground.cache.cached(Author)
    expect(await authors.get(author.id)).toMatchObject({ id: author.id })
    expect(authors.stats().errors).toBeGreaterThan(0)
    await rename(ground, author.id, 'new') // the invalidation deletes it
    await isServed(ground, author.id)
  })
})
