import { expect, test } from 'vitest'
import { RedisStore } from '../../../src/cache/redis/redis-store.ts'

const request = { key: 'E:1', stamps: ['E#*'], version: '1' }

function openStore(database: () => Promise<string>): RedisStore {
  const client = { mget: async (keys: readonly string[]) => keys.map(() => null), info: async () => '' }
  const redis = { run: async (_what: string, command: (client: unknown) => unknown) => command(client) }
  return new RedisStore({ redis: redis as never, prefix: 'test:', self: 'one', database })
}

test('reads that come together ask once which database theirs is, and nobody asks again', async () => {
  let asked = 0
  const store = openStore(async () => {
    asked += 1
    await new Promise((resolve) => setTimeout(resolve, 5))
    return 'a database'
  })
  await Promise.all(Array.from({ length: 200 }, () => store.read([request])))
  await store.read([request])
  expect(asked).toBe(1)
})

test('a question that failed is asked again by the next read', async () => {
  let away = true
  const store = openStore(async () => {
    if (away) throw new Error('the database is away')
    return 'a database'
  })
  for (let turn = 1; turn <= 2; turn++) await expect(store.read([request])).rejects.toThrow('the database is away')
  away = false
  expect(await store.read([request])).toEqual([{ state: 'absent', seen: undefined }])
})
