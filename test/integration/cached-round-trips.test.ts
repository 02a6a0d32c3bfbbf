import { Redis } from 'ioredis'
import { describe, expect, inject, test } from 'vitest'
import { Author } from '../support/cache-entities.ts'
import { type CacheGround, openCacheGround } from '../support/cache-ground.ts'
import { closesOpened } from '../support/opened.ts'

const patience = { timeout: 20_000, interval: 20 }
const track = closesOpened()

/** A client that tells what was sent since it was asked last, in round trips: what goes out before an answer to it has come. */
function openCountingClient() {
  const client = new Redis(inject('redisUrl'), { enableOfflineQueue: false, lazyConnect: true, commandTimeout: 5000 })
  track({ close: async () => client.disconnect() })
  let trips: string[][] = []
  let answered = true
  const { sendCommand } = client
  client.sendCommand = (command, stream) => {
    // The beats of the bus and what a sweep expires go out when they go out.
    if (['publish', 'unlink'].includes(command.name)) return sendCommand.call(client, command, stream)
    if (answered) trips.push([])
    answered = false
    trips.at(-1)?.push(command.name)
    const answer = () => {
      answered = true
    }
    command.promise.then(answer, answer)
    return sendCommand.call(client, command, stream)
  }
  const take = () => {
    const taken = trips.map((names) =>
      Object.fromEntries(Object.entries(Object.groupBy(names, (name) => name)).map(([name, all]) => [name, all?.length])),
    )
    trips = []
    answered = true
    return taken
  }
  return { client, take }
}

async function addAuthors(ground: CacheGround, count: number): Promise<string[]> {
  const em = ground.fork()
  const authors = Array.from({ length: count }, (_, n) => em.create(Author, { email: `${n}@example.dev`, name: `${n}` } as never))
  await em.flush()
  return authors.map(({ id }) => id)
}

describe('getMany()', () => {
  test.each([
    { count: 100, gets: 1 },
    { count: 1000, gets: 8 },
  ])('of $count hits is one round trip', async ({ count, gets }) => {
    const { client, take } = openCountingClient()
    const ground = track(await openCacheGround('sqlite', 'redis', { redisClient: client }))
    const ids = await addAuthors(ground, count)
    const authors = ground.cache.cached(Author)
    await allHits(ground, ids)
    take()
    expect((await authors.getMany(ids)).map((author) => author?.id)).toEqual(ids)
    expect(take()).toEqual([{ mget: gets }])
    expect(ground.takeQueries()).toEqual([])
  })

  test.each([
    { count: 100, trips: [100] },
    // Thousands of questions at once would not be answered within the timeout.
    { count: 300, trips: [128, 128, 44] },
  ])('of $count hits of which copies are to be kept is a round trip for each 128, and then none', async ({ count, trips }) => {
    const { client, take } = openCountingClient()
    const ground = track(await openCacheGround('sqlite', 'redis', { redisClient: client, tier: { ttl: 60_000 } }))
    const ids = await addAuthors(ground, count)
    const authors = ground.cache.cached(Author)
    await allHits(ground, ids)
    await expect.poll(() => authors.getMany(ids).then(take), patience).toEqual([])
    ground.store.dropCopies?.(ids.map((id) => `Author:${id}`))
    expect((await authors.getMany(ids)).map((author) => author?.id)).toEqual(ids)
    expect(take()).toEqual(trips.map((pttl) => ({ mget: 1, pttl })))
    await authors.getMany(ids)
    expect(take()).toEqual([])
  })

  test('of hits and misses is one round trip for what is there, and one query for what is not', async () => {
    const { client, take } = openCountingClient()
    const ground = track(await openCacheGround('sqlite', 'redis', { redisClient: client }))
    const ids = await addAuthors(ground, 100)
    await allHits(ground, ids.slice(0, 60))
    take()
    expect((await ground.cache.cached(Author).getMany(ids)).map((author) => author?.id)).toEqual(ids)
    expect(ground.takeQueries()).toHaveLength(1)
    const trips = take()
    expect(trips[0]).toEqual({ mget: 1 })
    // Then the leases of the others with their stamp, and their fills.
    expect(trips.slice(1).map((names) => Object.values(names).reduce((sum, n = 0) => (sum ?? 0) + n, 0))).toEqual([41, 40])
  })
})

/** Reads until Redis has them all. */
async function allHits(ground: CacheGround, ids: readonly string[]): Promise<void> {
  const authors = ground.cache.cached(Author)
  const missed = async () => {
    const { misses } = authors.stats()
    await authors.getMany(ids)
    return authors.stats().misses - misses
  }
  await expect.poll(missed, patience).toBe(0)
  ground.takeQueries()
}
