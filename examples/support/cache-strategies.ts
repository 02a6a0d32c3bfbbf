import type { DataAccess } from '@innovateai/data-access'
import { User, userCache } from '@innovateai/data-access/assessment'
import { Redis } from 'ioredis'

/** A way to read and write users, with or without a cache. */
export interface Strategy {
  readonly name: string
  /** The name of the user. */
  read(id: string): Promise<string>
  /** Renames the user; a reader that begins afterwards should get the new name. */
  write(id: string, name: string): Promise<void>
}

/** The smallest cache: Redis when `REDIS_URL` is set, else a map. */
interface HandMadeCache {
  get(key: string): Promise<string | null | undefined>
  set(key: string, value: string): Promise<void>
  delete(key: string): Promise<void>
  close(): Promise<void>
}

/** The four strategies on one database with empty caches, and what closes them. */
export async function openStrategies(data: DataAccess): Promise<{ strategies: readonly Strategy[]; close(): Promise<void> }> {
  const cache = openHandMadeCache()
  await data.cached(userCache).invalidateAll()
  const load = async (id: string) => (await data.fork().getRepository(User).getOrFail(id)).name
  const store = (id: string, name: string) =>
    data.unitOfWork(async ({ em }) => {
      const user = await em.getRepository(User).getOrFail(id)
      user.name = name
    })
  const strategies: Strategy[] = [
    { name: 'no cache', read: load, write: store },
    {
      name: 'cache-aside by hand',
      read: (id) => readAside(cache, `aside:${id}`, () => load(id)),
      write: async (id, name) => {
        await store(id, name)
        await cache.delete(`aside:${id}`)
      },
    },
    {
      name: 'write-through by hand',
      read: (id) => readAside(cache, `through:${id}`, () => load(id)),
      write: async (id, name) => {
        await store(id, name)
        await cache.set(`through:${id}`, name)
      },
    },
    {
      name: 'read-through (ours)',
      read: async (id) => (await data.cached(userCache).getOrFail(id)).name,
      write: store, // the commit expires what it changed
    },
  ]
  return { strategies, close: () => cache.close() }
}

async function readAside(cache: HandMadeCache, key: string, load: () => Promise<string>): Promise<string> {
  const cached = await cache.get(key)
  if (cached !== null && cached !== undefined) return cached
  const name = await load()
  await cache.set(key, name)
  return name
}

function openHandMadeCache(): HandMadeCache {
  const url = process.env.REDIS_URL
  if (!url) {
    const map = new Map<string, string>()
    return {
      get: async (key) => map.get(key),
      set: async (key, value) => void map.set(key, value),
      delete: async (key) => void map.delete(key),
      close: async () => map.clear(),
    }
  }
  const redis = new Redis(url)
  const ttlMs = 60_000
  const prefix = `hand-made:${crypto.randomUUID()}:`
  return {
    get: (key) => redis.get(prefix + key),
    set: async (key, value) => void (await redis.set(prefix + key, value, 'PX', ttlMs)),
    delete: async (key) => void (await redis.del(prefix + key)),
    close: async () => void (await redis.quit()),
  }
}
