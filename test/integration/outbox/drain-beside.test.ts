import { expect, onTestFinished, test } from 'vitest'
import { placeKey } from '../../../src/outbox/event/ordering-key.ts'
import { type OutboxEvent, unavailable } from '../../../src/outbox/publishing/publisher.ts'
import { dialects, openTestDatabase } from '../../support/databases.ts'
import { openOutbox } from '../../support/outbox-bench.ts'

const timing = { publishTimeout: 3000, lease: 6000, pollInterval: { min: 5, max: 50 } }

test.each(dialects)(
  'a drain on %s publishes what is due in buckets that came to it while a batch failed',
  { timeout: 120_000 },
  async (dialect) => {
    const database = await openTestDatabase(dialect)
    onTestFinished(() => database.close())
    const bench = await openOutbox(database.url)
    onTestFinished(() => bench.close())
    const beside = await openOutbox(database.url)
    onTestFinished(() => beside.close())
    const until = (condition: () => boolean) => expect.poll(condition, { interval: 5, timeout: 60_000 }).toBe(true)

    // The drain waits for it while it is due elsewhere, and so does its publisher should it come here.
    await bench.record('first', ['first'])
    const other = beside.outbox.relay({
      publisher: () => {
        throw unavailable(new Error('away'))
      },
      ...timing,
    })
    await other.start()
    const seen: unknown[] = []
    let refused = false
    const recorded = Promise.withResolvers<void>()
    const mayFail = Promise.withResolvers<void>()
    const publisher = async ({ payload }: OutboxEvent) => {
      if (payload === 'mine') {
        refused = true
        await mayFail.promise
        throw new Error('not now')
      }
      if (payload === 'first') await recorded.promise
      seen.push(payload)
    }
    const relay = bench.outbox.relay({
      publisher,
      batchSize: 1,
      retry: { attempts: 2, baseMs: 600_000, maxMs: 600_000 },
      ...timing,
    })
    const drained = relay.drain()
    await until(() => relay.status().buckets.length === 32 && other.status().buckets.length === 32)
    const keyIn = (buckets: readonly number[]) => {
      for (let n = 0; ; n++) if (buckets.includes(placeKey(`Note:${n}`).bucket)) return String(n)
    }
    await bench.record(keyIn(other.status().buckets), ['theirs'])
    await bench.record(keyIn(relay.status().buckets), ['mine'])
    recorded.resolve()
    await until(() => refused)
    await other.stop()
    await until(() => relay.status().buckets.length === 64)
    mayFail.resolve()
    expect(await drained).toMatchObject({ retried: 1, deadLettered: 0 })
    expect(seen.toSorted()).toEqual(['first', 'theirs'])
  },
)
