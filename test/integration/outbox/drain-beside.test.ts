import { expect, onTestFinished, test } from 'vitest'
import { placeKey } from '../../../src/outbox/event/ordering-key.ts'
import { type OutboxEvent, unavailable } from '../../../src/outbox/publishing/publisher.ts'
import { dialects, openTestDatabase, type TestDialect } from '../../support/databases.ts'
import { openOutbox } from '../../support/outbox-bench.ts'

const timing = { publishTimeout: 3000, lease: 6000, pollInterval: { min: 5, max: 50 } }

/** Two data accesses to one database. */
async function openTwo(dialect: TestDialect) {
  const database = await openTestDatabase(dialect)
  onTestFinished(() => database.close())
  const two = [await openOutbox(database.url), await openOutbox(database.url)] as const
  for (const each of two) onTestFinished(() => each.close())
  return two
}

test.each(dialects)(
  'a drain on %s publishes what is due in buckets that came to it while a batch failed',
  { timeout: 120_000 },
  async (dialect) => {
    const [bench, beside] = await openTwo(dialect)
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

test.each(dialects)(
  'a drain on %s ends when what is due lies only with relays that are paused',
  { timeout: 60_000 },
  async (dialect) => {
    const [bench, beside] = await openTwo(dialect)
    const timing = { publishTimeout: 500, lease: 1500, pollInterval: { min: 5, max: 50 } }
    const publish = (away: boolean) =>
      function webhook() {
        if (away) throw unavailable(new Error('no network here'))
      }
    await bench.record('first', [0])
    const other = beside.outbox.relay({ publisher: publish(true), ...timing })
    await other.start()
    await expect.poll(() => other.status().paused).toBeDefined()
    const relay = bench.outbox.relay({ publisher: publish(false), ...timing })
    const drained = relay.drain()
    drained.catch(() => {})
    await expect.poll(() => other.status().buckets.length, { timeout: 10_000 }).toBe(32)
    for (let n = 0; n < 64; n++) await bench.record(`${n}`, [n])
    await expect(drained).rejects.toMatchObject({
      code: 'PUBLISHER_FAILED',
      message: expect.stringMatching(/lies with relays that are paused.*: relay "relay" \(.*no network here/),
    })
    expect(bench.logger.warnings.map(({ message }) => message)).toEqual([])
    await other.stop()
    expect(await bench.outbox.relay({ publisher: publish(false), ...timing }).drain()).toMatchObject({ retried: 0 })
    expect(await bench.outbox.stats()).toMatchObject({ backlog: 0 })
  },
)

test.each(dialects)('a drain on %s says for whom it waits longer than a lease', { timeout: 60_000 }, async (dialect) => {
  const [bench, beside] = await openTwo(dialect)
  const mayEnd = Promise.withResolvers<void>()
  const publisher = async () => {
    await mayEnd.promise
  }
  await bench.record('first', [0])
  const other = beside.outbox.relay({ publisher })
  await other.start()
  await expect.poll(() => other.status().inHand).toBe(1)
  const drained = bench.outbox.relay({ publisher, publishTimeout: 500, lease: 1500, pollInterval: { min: 5, max: 50 } }).drain()
  await expect
    .poll(() => bench.logger.warnings.map(({ message }) => message), { timeout: 20_000 })
    .toEqual([expect.stringMatching(/drain\(\) waits for what is due with relay "relay"/)])
  mayEnd.resolve()
  expect(await drained).toMatchObject({ deadLettered: 0 })
  expect(await bench.outbox.stats()).toMatchObject({ backlog: 0 })
})
