import { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest'
import { cachePolicy, type Lifetime } from '../../src/cache/policy.ts'
import { runSql } from '../../src/database/sql.ts'
import { Author } from '../support/cache-entities.ts'
import { type CacheGround, openCacheGround } from '../support/cache-ground.ts'
import { parkNextLoad } from '../support/parked-load.ts'

const patience = { timeout: 20_000, interval: 5 }
const copiesMs = 400

describe('copies in this process, with what a policy and a reader can ask for besides', () => {
  let ground: CacheGround
  let client: Redis
  beforeEach(() => {
    client = new Redis(inject('redisUrl'))
  })
  afterEach(async () => {
    client.disconnect()
    await ground.close()
  })

  const open = async (lifetime: Lifetime, ttl = copiesMs) => {
    const author = cachePolicy(Author, { jitter: 0, ...lifetime })
    ground = await openCacheGround('postgresql', 'redis', { caches: [author], tier: { ttl }, sweepMs: 200 })
    const other = await ground.openOther()
    return { here: ground.cache.cached(author), there: other.cache.cached(author), other }
  }
  const rename = async (by: CacheGround, id: string, name: string) => {
    const em = by.fork()
    ;(await em.findOneOrFail(Author, id)).name = name
    await em.flush()
  }
  const renameUnseen = (id: string, name: string) => runSql(ground.fork(), 'update authors set name = ? where id = ?', [name, id])
  const keyOf = (id: string) => `${ground.prefix}Author:${id}`
  /** Reads until Redis need not be asked: until then the bus is not heard, or nothing is copied. */
  const copied = (read: () => Promise<unknown>, id: string) =>
    expect
      .poll(async () => {
        await read()
        const text = await client.get(keyOf(id))
        await client.unlink(keyOf(id))
        const kept = (await read()) !== undefined && (await client.exists(keyOf(id))) === 0
        if (kept && text !== null) await client.set(keyOf(id), text, 'PX', 60_000)
        return kept
      }, patience)
      .toBe(true)

  test('past its ttl a copy is served while its entry is read anew, and goes as the new one is there', async () => {
    const { here } = await open({ ttl: 50, serveStale: 60_000 }, 60_000)
    const { id } = await ground.author({ name: 'old' })
    const nameOf = async () => (await here.get(id))?.name
    await copied(nameOf, id)
    await renameUnseen(id, 'new')
    await new Promise((resolve) => setTimeout(resolve, 60))
    const load = parkNextLoad(ground.orm)
    expect(await nameOf()).toBe('old')
    await load.parked
    expect(await nameOf()).toBe('old')
    load.resume()
    // Long before the copies end by themselves.
    await expect.poll(nameOf, patience).toBe('new')
  })

  test('past its ttl a copy that another process has invalidated is not served once that is heard', async () => {
    const { here, other } = await open({ ttl: 50, serveStale: 60_000 }, 60_000)
    const { id } = await ground.author({ name: 'old' })
    const nameOf = async () => (await here.get(id))?.name
    await copied(nameOf, id)
    await new Promise((resolve) => setTimeout(resolve, 60))
    await rename(other, id, 'new')
    await expect.poll(nameOf, patience).toBe('new')
    for (let read = 0; read < 50; read++) expect(await nameOf()).toBe('new')
  })

  test('a fresh read past a copy is current, and so is what comes after it, stale or not', async () => {
    const { here } = await open({ ttl: 50, serveStale: 60_000, probe: 1 }, 60_000)
    const { id } = await ground.author({ name: '0' })
    for (let version = 1; version <= 10; version++) {
      await here.get(id)
      await renameUnseen(id, String(version))
      expect((await here.get(id, { fresh: true }))?.name).toBe(String(version))
      expect((await here.get(id))?.name).toBe(String(version))
    }
  })

  test('the probe takes a copy whose message was lost for no broken promise, and finds an entry that outlived a change', async () => {
    const { here } = await open({ probe: 1 })
    const { id } = await ground.author({ name: 'old' })
    const nameOf = async () => (await here.get(id))?.name
    await copied(nameOf, id)
    const { probed } = here.stats()
    await renameUnseen(id, 'new')
    await client.unlink(keyOf(id)) // expired by another process, whose message was lost
    expect(await nameOf()).toBe('old')
    await expect.poll(nameOf, patience).toBe('new')
    await expect.poll(() => here.stats().probed, patience).toBeGreaterThan(probed)
    expect(here.stats().inconsistent).toBe(0)

    await renameUnseen(id, 'newest') // and nobody is told
    const inconsistent = async () => {
      await nameOf() // a few hits at a time are compared, and those before are still at it
      return here.stats().inconsistent
    }
    await expect.poll(inconsistent, patience).toBeGreaterThan(0)
  })
})
