import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterEach, expect, test } from 'vitest'
import { Author } from '../support/cache-entities.ts'
import { type CacheGround, openCacheGround } from '../support/cache-ground.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

async function heldBytes(): Promise<number> {
  for (let turn = 0; turn < 3; turn++) {
    collect()
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

let ground: CacheGround | undefined
afterEach(() => ground?.close())

const maxBytes = 4_000_000
const count = 120

// Each is three times as much as the copies may take.
test.each([
  ['Latin letters', { settings: { theme: 'x'.repeat(100_000), tags: [] } }],
  ['other letters', { settings: { theme: 'ж'.repeat(50_000), tags: [] } }],
  ['binary data', { portrait: Buffer.alloc(100_000, 1) }],
])(
  'copies in this process take about maxBytes at most: %s',
  async (_what, values) => {
    ground = await openCacheGround('sqlite', 'redis', { tier: { maxBytes, maxEntries: 100_000, ttl: 60_000 } })
    const { cache, author } = ground
    const ids: string[] = []
    for (let each = 0; each < count; each++) ids.push((await author(values as never)).id)
    const readAll = async () => {
      for (const id of ids) await cache.cached(Author).get(id)
    }
    await readAll()
    const last = ids.at(-1) as string
    // Until the bus is heard nothing is copied.
    const copied = async () => {
      const { atHand } = cache.cached(Author).stats()
      await cache.cached(Author).get(last)
      return cache.cached(Author).stats().atHand > atHand
    }
    await expect.poll(copied, { timeout: 10_000 }).toBe(true)
    const before = await heldBytes()
    for (let turn = 0; turn < 2; turn++) await readAll()
    const taken = (await heldBytes()) - before
    expect(taken).toBeLessThan(1.3 * maxBytes)
    expect(taken).toBeGreaterThan(0.5 * maxBytes)
  },
  60_000,
)
