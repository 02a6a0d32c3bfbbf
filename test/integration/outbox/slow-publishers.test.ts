import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import type { OutboxEvent } from '../../../src/outbox/publishing/publisher.ts'
import { dialects } from '../../support/databases.ts'
import { outboxGround } from '../../support/outbox-ground.ts'

const timing = { publishTimeout: 400, lease: 4000, pollInterval: { min: 5, max: 50 } }

describe.each(dialects)('a relay on %s to a function with no time for all', (dialect) => {
  const ground = outboxGround(dialect)

  /** Two events of each of so many keys. */
  async function record(keys: number): Promise<void> {
    await ground.bench.data.unitOfWork(async () => {
      for (let key = 0; key < keys; key++) await ground.bench.record(`k${key}`, [`${key} 1`, `${key} 2`])
    })
  }

  test('publishes a backlog of many times what it can begin, once each, in order, and blames no event', async () => {
    await record(100)
    const seen: string[] = []
    const publisher = async ({ payload }: OutboxEvent) => {
      seen.push(String(payload))
      // Two rounds of 32 lanes begin in half of the time; the backlog takes seven.
      await delay(120)
    }
    // The first failure would be a dead letter.
    const relay = ground.bench.outbox.relay({ publisher, ...timing, retry: { attempts: 1 } })
    expect(await relay.drain()).toEqual({ published: 200, retried: 0, deadLettered: 0 })
    expect(new Set(seen).size).toBe(200)
    expect(seen).toHaveLength(200)
    for (let key = 0; key < 100; key++) expect(seen.indexOf(`${key} 1`)).toBeLessThan(seen.indexOf(`${key} 2`))
    expect((await ground.bench.rows()).every(({ attempts }) => attempts === 0)).toBe(true)
  })

  test('lets events that hang with each try keep no other waiting for long', async () => {
    await record(60)
    const hung = new Map<unknown, number>()
    // The first 40 keys hang, more than there are lanes.
    const publisher = ({ payload }: OutboxEvent) => {
      if (Number.parseInt(String(payload), 10) >= 40) return undefined
      hung.set(payload, (hung.get(payload) ?? 0) + 1)
      return new Promise<void>(() => {})
    }
    const relay = ground.bench.outbox.relay({ publisher, ...timing, retry: { attempts: 100, baseMs: 1, maxMs: 1 } })
    await relay.start()
    await expect.poll(() => relay.status().published, { timeout: 10_000 }).toBe(40)
    await relay.stop()
    // A few turns, not the hundred tries after which those that hang are given up.
    expect(Math.max(...hung.values())).toBeLessThan(10)
    // Those that hang are tried in turn, and none is left out.
    expect(hung.size).toBe(40)
  })
})
