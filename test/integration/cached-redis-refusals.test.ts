import { expect, test } from 'vitest'
import { Author } from '../support/cache-entities.ts'
import { openCacheGround } from '../support/cache-ground.ts'
import { closesOpened } from '../support/opened.ts'
import { commitBoundMs, readBoundMs, timed } from '../support/outage-bounds.ts'
import { cachedName, givenUntilServed, isServed, quietClient, rename } from '../support/served-authors.ts'
import { openRedisServer } from '../support/servers/restartable-servers.ts'

const track = closesOpened()

// A replica refuses to expire, too; a full one does what frees memory, and keeps nothing new.
test.each([
  { what: 'has become a replica', begin: ['REPLICAOF', '127.0.0.1', '1'], end: ['REPLICAOF', 'NO', 'ONE'] },
  { what: 'has no memory left', begin: ['CONFIG', 'SET', 'maxmemory', '1'], end: ['CONFIG', 'SET', 'maxmemory', '0'] },
] as const)(
  'while Redis $what reads and commits are bounded, and what changed is not read from it afterwards',
  async ({ begin: [begin, ...how], end: [end, ...then] }) => {
    const server = track(await openRedisServer({ appendonly: 'no' }))
    const admin = track(quietClient(server.url))
    const ground = track(await openCacheGround('sqlite', 'redis', { redisUrl: server.url, timeoutMs: 50 }))
    const author = await ground.author({ name: 'old' })
    await isServed(ground, author.id)
    const { hits } = ground.cache.cached(Author).stats()

    await admin.call(begin, ...how)
    expect((await timed(rename(ground, author.id, 'new'))).ms).toBeLessThan(commitBoundMs)
    for (let i = 0; i < 20; i++) {
      const read = await timed(cachedName(ground, author.id))
      expect(read.result).toBe('new')
      expect(read.ms).toBeLessThan(readBoundMs)
    }
    expect(ground.cache.cached(Author).stats().hits).toBe(hits)

    await admin.call(end, ...then)
    expect(await givenUntilServed(ground, () => cachedName(ground, author.id))).toEqual(['new'])
  },
)
