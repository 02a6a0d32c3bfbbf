import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { placeKey } from '../../../src/outbox/event/ordering-key.ts'
import type { OutboxEvent } from '../../../src/outbox/publishing/publisher.ts'
import { dialects } from '../../support/databases.ts'
import { outboxGround } from '../../support/outbox-ground.ts'

const deep = 600
const bucketOf = (key: string) => placeKey(`Note:${key}`).bucket

/** A key whose bucket is, or is not, that of the one with the backlog. */
function keyIn(which: 'the same bucket' | 'another bucket'): string {
  for (let n = 0; ; n++) if ((bucketOf(`other ${n}`) === bucketOf('deep')) === (which === 'the same bucket')) return `other ${n}`
}

// Six hundred events of one key at 25 ms each are 15 s of waves of one event.
describe.each(dialects)('a key on %s with a long backlog', (dialect) => {
  const ground = outboxGround(dialect)
  const backlog = () =>
    ground.bench.record(
      'deep',
      Array.from({ length: deep }, (_, n) => n),
    )

  test.each(['the same bucket', 'another bucket'] as const)(
    'lets a new event of a key in %s go out within a few seconds, and keeps its own pace and order',
    { timeout: 60_000 },
    async (which) => {
      await backlog()
      const seen: unknown[] = []
      const publisher = async ({ payload }: OutboxEvent) => {
        await delay(25)
        seen.push(payload)
      }
      const relay = ground.bench.outbox.relay({ publisher, pollInterval: { min: 5, max: 50 } })
      await relay.start()
      await expect.poll(() => seen.length, { interval: 20 }).toBeGreaterThan(20)
      await ground.bench.record(keyIn(which), ['other'])
      await expect.poll(() => seen.includes('other'), { interval: 20 }).toBe(true)
      const before = seen.length
      await delay(2000)
      // Eighty, on a machine that has nothing else to do.
      expect(seen.length - before).toBeGreaterThan(8)
      const numbers = seen.filter((payload) => payload !== 'other')
      expect(numbers).toEqual(numbers.map((_, n) => n))
      await relay.stop()
    },
  )

  test('lets the relay stop soon, and comes on from there, once each', { timeout: 60_000 }, async () => {
    await backlog()
    const seen: unknown[] = []
    let ms = 25
    const publisher = async ({ payload }: OutboxEvent) => {
      if (ms > 0) await delay(ms)
      seen.push(payload)
    }
    const relay = ground.bench.outbox.relay({ publisher })
    await relay.start()
    await expect.poll(() => seen.length, { interval: 20 }).toBeGreaterThan(20)
    await relay.stop()
    // What is left would take 15 s.
    expect(seen.length).toBeLessThan(deep / 2)
    ms = 0
    await ground.bench.outbox.relay({ publisher }).drain()
    expect(seen).toEqual(Array.from({ length: deep }, (_, n) => n))
  })
})
