import { afterEach, expect, test } from 'vitest'
import { placeKey } from '../../../src/outbox/event/ordering-key.ts'
import { type OutboxEvent, permanent } from '../../../src/outbox/publishing/publisher.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../../support/databases.ts'
import { type OutboxUnderTest, openOutbox } from '../../support/outbox-bench.ts'

const many = 40_000
const { bucket } = placeKey('Note:blocked')
const sameBucket = Array.from({ length: 1000 }, (_, n) => `other ${n}`).find((key) => placeKey(key).bucket === bucket) as string

let database: TestDatabase
let bench: OutboxUnderTest

afterEach(async () => {
  await bench.close()
  await database.close()
})

test.each(dialects)(
  'forty thousand events behind a blocked key on %s hold nobody up, and come in order when it is free',
  { timeout: 120_000 },
  async (dialect) => {
    database = await openTestDatabase(dialect)
    bench = await openOutbox(database.url)
    const numbers = Array.from({ length: many }, (_, n) => n)
    await bench.record('blocked', numbers.slice(0, many / 2))
    await bench.record('blocked', numbers.slice(many / 2))
    const seen: OutboxEvent[] = []
    let refuses = true
    const relay = bench.outbox.relay({
      publisher: (event) => {
        if (refuses && event.aggregateId === 'blocked') throw permanent(new Error('no'))
        seen.push(event)
      },
      onDeadLetter: 'block-key',
      pollInterval: { min: 5, max: 20 },
    })
    await relay.start()
    await expect.poll(() => relay.status().deadLettered, { timeout: 20_000 }).toBe(1)
    // Those that come later are not behind it, also not in its bucket.
    for (let n = 0; n < 20; n++) {
      await bench.record(`free ${n % 10}`, [n])
      await expect.poll(() => seen.length, { timeout: 5000, interval: 5 }).toBe(n + 1)
    }
    await bench.record('other', [20], { orderingKey: sameBucket })
    await expect.poll(() => seen.length, { timeout: 5000, interval: 5 }).toBe(21)
    refuses = false
    expect(await bench.outbox.deadLetters.redrive({ aggregateId: 'blocked' })).toBe(1)
    await expect.poll(() => relay.status().published, { timeout: 90_000, interval: 100 }).toBe(many + 21)
    await relay.stop()
    expect(seen.slice(21).map(({ payload }) => payload)).toEqual(numbers)
  },
)
