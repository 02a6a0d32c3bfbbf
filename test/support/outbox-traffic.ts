import { setTimeout as delay } from 'node:timers/promises'
import { expect } from 'vitest'
import type { Relay } from '../../src/outbox/relay/relay.ts'
import { ConfirmedMarks } from './confirmed-marks.ts'
import type { OutboxUnderTest } from './outbox-bench.ts'
import { type Delivery, findInversion } from './relay-process.ts'

/** Writers and a relay at work, through whatever comes. */
export interface Traffic {
  readonly relay: Relay
  readonly delivered: Delivery[]
  /** Resolves when so many more events were delivered. */
  grown(by: number): Promise<void>
  /**
   * Ends the writers, waits until everything committed is delivered, and checks it.
   *
   * @param marks `may be undone` by a crash of PostgreSQL: what was marked may come again.
   */
  finish(marks?: 'stand' | 'may be undone'): Promise<void>
}

/**
 * Writes to keys a … d, behind what of theirs is stored already.
 *
 * @param direct reaches the database also while `bench` does not.
 */
export async function startTraffic(
  bench: OutboxUnderTest,
  direct: OutboxUnderTest,
  options: { readonly lease?: number; readonly batchSize?: number } = {},
): Promise<Traffic> {
  const delivered: Delivery[] = []
  const { lease = 30_000, batchSize = 20 } = options
  const marks = new ConfirmedMarks()
  const found = await direct.rows()
  const before = new Set(found.flatMap(({ id, status }) => (status === 'published' ? [id] : [])))
  const relay = bench.outbox.relay({
    publisher: async ({ id, orderingKey, payload }) => {
      marks.publishing(id)
      await delay(1)
      delivered.push({ id, key: orderingKey as string, payload })
    },
    batchSize,
    lease,
    publishTimeout: Math.min(10_000, lease / 2),
    pollInterval: { min: 5, max: 50 },
  })
  marks.listenTo(relay)
  await relay.start()
  const backlog = found.length - before.size
  let [writing, written] = [true, 0]
  /** Writers that run ahead of the relay on a slow machine would leave it more than it can deliver in time. */
  const mostAhead = 500
  /** How many events of a key have committed; `undefined` while nobody can tell. */
  const stored = async (key: string) => {
    const count = direct.sql<{ n: string | number }>('select count(*) as n from domain_events where aggregate_id = ?', [key])
    return count.then(
      ([row]) => Number(row?.n),
      () => undefined,
    )
  }
  const writer = async (key: string) => {
    // A failed write, and one whose outcome is unknown, is looked up and not counted twice.
    let next: number | undefined
    while (writing) {
      while (writing && written - Math.max(0, delivered.length - backlog) > mostAhead) await delay(20)
      try {
        if (next === undefined) next = await stored(key)
        if (next === undefined) throw new Error('The database is away')
        await bench.record(key, [next, next + 1])
        next += 2
        written += 2
      } catch {
        next = undefined
        await delay(50)
      }
    }
  }
  const writers = ['a', 'b', 'c', 'd'].map(writer)
  return {
    relay,
    delivered,
    grown: async (by) => {
      const from = delivered.length
      await expect.poll(() => delivered.length, { timeout: 60_000, interval: 10 }).toBeGreaterThan(from + by)
    },
    finish: async (lasting = 'stand') => {
      writing = false
      await Promise.all(writers)
      const left = () => direct.sql("select id from domain_events where status = 'pending'").then((rows) => rows.length, String)
      await expect.poll(left, { timeout: 60_000, interval: 100 }).toBe(0)
      const rows = (await direct.rows()).filter(({ id }) => !before.has(id))
      expect(new Set(delivered.map(({ id }) => id))).toEqual(new Set(rows.map(({ id }) => id)))
      expect(findInversion(delivered)).toBeUndefined()
      if (lasting === 'stand') expect(marks.repeated).toEqual([])
      expect(rows.every(({ attempts }) => attempts === 0)).toBe(true)
      expect(rows.length).toBeGreaterThan(20)
      await relay.stop()
    },
  }
}
