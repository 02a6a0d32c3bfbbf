import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { OutboxEvent, Publisher } from '../../../src/outbox/publishing/publisher.ts'
import { dialects } from '../../support/databases.ts'
import { outboxGround } from '../../support/outbox-ground.ts'
import { type ChildOptions, readDeliveries, startRelayProcess } from '../../support/relay-process.ts'

const timing = { lease: 4000, publishTimeout: 1000, pollInterval: { min: 5, max: 50 } }

describe.each(dialects)('a batch on %s that was in hand when a relay was killed', (dialect) => {
  const ground = outboxGround(dialect)
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'data-access-relay-'))
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true }))

  const file = () => join(folder, 'out.jsonl')
  const startChild = (options: Partial<ChildOptions>) =>
    startRelayProcess({ url: ground.url, file: file(), leaseMs: 300, batchSize: 100, slowMs: 0, ...options })
  /** Records events that tell their places. */
  const record = async (many: number, keyOf: (n: number) => string) =>
    ground.bench.data.unitOfWork(async () => {
      for (let n = 0; n < many; n++) await ground.bench.record(keyOf(n), [n])
    })
  const suspects = async () => (await ground.bench.rows()).filter((row) => row.last_error?.startsWith('RELAY_CRASHED')).length

  /** A publisher that takes so long for a call with other events than a new one, always or until that has come; tells what it has published. */
  const slowly = (ms: number, until: 'always' | 'new' = 'always') => {
    const seen: unknown[] = []
    const publish = async (events: readonly OutboxEvent[], { signal }: { signal: AbortSignal }) => {
      const slow = events.some(({ payload }) => payload !== 'new') && !seen.includes(until)
      if (slow) await delay(ms, undefined, { signal })
      seen.push(...events.map(({ payload }) => payload))
      return events.map(() => ({ status: 'published' }) as const)
    }
    return { seen, publisher: { name: 'file', publish } satisfies Publisher }
  }
  const takeOver = async (publisher: Publisher) => {
    const relay = ground.bench.outbox.relay({ publisher, ...timing, retry: { baseMs: 20_000, maxMs: 60_000 } })
    await relay.start()
    await expect.poll(suspects, { interval: 20, timeout: 20_000 }).toBeGreaterThan(25)
    await ground.bench.record('new', ['new'])
    return relay
  }

  test.each([
    ['that is slow', 300],
    ['that hangs', 60_000],
  ])('keeps no other waiting for more than a few calls to a receiver %s', { timeout: 60_000 }, async (_, ms) => {
    await record(100, (n) => `k${n}`)
    await (await startChild({ killBefore: 0 })).ended
    const { seen, publisher } = slowly(ms)
    const relay = await takeOver(publisher)
    await expect.poll(() => seen.includes('new'), { interval: 20, timeout: 15_000 }).toBe(true)
    // One by one it took half a minute.
    if (ms === 300) await expect.poll(() => seen.length, { interval: 20, timeout: 20_000 }).toBe(101)
    await relay.stop({ deadline: 0 })
  })

  test('comes in order where it is of one key, beside others', { timeout: 60_000 }, async () => {
    await record(90, () => 'one')
    await (await startChild({ killBefore: 30 })).ended
    const { seen, publisher } = slowly(100, 'new')
    const relay = await takeOver(publisher)
    await expect.poll(() => seen.length, { interval: 20, timeout: 20_000 }).toBeGreaterThan(70)
    await relay.stop()
    expect(seen.indexOf('new')).toBeLessThan(50)
    const numbers = seen.filter((payload): payload is number => payload !== 'new')
    expect(numbers).toEqual(numbers.map((_, n) => n + (numbers[0] ?? 0)))
  })

  test.each(['killBefore', 'killRead'] as const)(
    'is parted until the event is found that ends the process, by %s: the others spend no attempt',
    { timeout: 120_000 },
    async (how) => {
      await record(60, (n) => `k${n}`)
      const crashes = await crashesUntilPublished({ [how]: 41 })
      // With all, with some, and three times alone.
      expect(crashes).toBe(5)
      expect(await ground.bench.outbox.deadLetters.list()).toMatchObject([
        { payloadJson: '41', error: expect.stringContaining('RELAY_CRASHED') },
      ])
      const rows = await ground.bench.rows()
      expect(rows).toHaveLength(59)
      expect(rows.every(({ attempts }) => attempts === 0)).toBe(true)
      expect(new Set(readDeliveries(file()).map(({ id }) => id))).toEqual(new Set(rows.map(({ id }) => id)))
    },
  )

  async function crashesUntilPublished(options: Partial<ChildOptions>): Promise<number> {
    for (let crashes = 0; crashes < 8; crashes++) {
      const child = await startChild(options)
      let ended = false
      void child.ended.then(() => {
        ended = true
      })
      while (!ended) {
        if ((await ground.bench.rows()).every(({ status }) => status === 'published')) {
          await child.stop()
          return crashes
        }
        await delay(50)
      }
    }
    return 8
  }
})
