import { Redis } from 'ioredis'
import { expect } from 'vitest'
import { Author } from './cache-entities.ts'
import type { CacheGround } from './cache-ground.ts'

export interface QuietClientOptions {
  readonly username?: string
  readonly password?: string
  readonly enableReadyCheck?: boolean
}

/** A client of a server that a test stops. */
export function quietClient(url: string, options: QuietClientOptions = {}): Redis & { close(): Promise<void> } {
  const client = new Redis(url, options)
  client.on('error', () => undefined)
  return Object.assign(client, { close: async () => client.disconnect() })
}

/** Commits another name. */
export async function rename(ground: CacheGround, id: string, name: string): Promise<void> {
  const em = ground.fork()
  ;(await em.findOneOrFail(Author, id)).name = name
  await em.flush()
}

export async function cachedName(ground: CacheGround, id: string): Promise<string | undefined> {
  return (await ground.cache.cached(Author).get(id))?.name
}

/** Waits until a read of this author is a hit. */
export async function isServed(ground: CacheGround, id: string): Promise<void> {
  const look = async () => {
    const { hits } = ground.cache.cached(Author).stats()
    await ground.cache.cached(Author).get(id)
    return ground.cache.cached(Author).stats().hits - hits
  }
  await expect.poll(look, { timeout: 20_000, interval: 20 }).toBe(1)
}

/** Reads until the store has heard of every change of this process, and a read is a hit; gives what all these reads gave, each once. */
export async function givenUntilServed<T>(ground: CacheGround, read: () => Promise<T>): Promise<T[]> {
  const given = new Set<T>()
  const authors = ground.cache.cached(Author)
  const look = async () => {
    const { hits } = authors.stats()
    given.add(await read())
    return { waiting: ground.cache.stats().invalidations.waiting, hits: authors.stats().hits - hits }
  }
  await expect.poll(look, { timeout: 20_000, interval: 5 }).toEqual({ waiting: 0, hits: 1 })
  return [...given]
}
