import { expect, onTestFinished, test } from 'vitest'
import type { OutboxEvent, Publisher } from '../../../src/outbox/publishing/publisher.ts'
import { openTestDatabase, type TestDialect } from '../../support/databases.ts'
import { type OutboxUnderTest, openOutbox } from '../../support/outbox-bench.ts'

const many = 20_000

async function open(dialect: TestDialect): Promise<OutboxUnderTest> {
  const database = await openTestDatabase(dialect)
  onTestFinished(() => database.close())
  const bench = await openOutbox(database.url)
  onTestFinished(() => bench.close())
  return bench
}

/** Stores events of as many keys, all to be published in an hour. */
async function storeDelayed(bench: OutboxUnderTest, dialect: 'postgresql' | 'sqlite'): Promise<void> {
  const columns = `id, event_type, aggregate_type, aggregate_id, payload, headers, ordering_key, bucket, created_at, updated_at,
    sequence, available_at`
  if (dialect === 'postgresql') {
    await bench.sql(
      `insert into domain_events (${columns}) select gen_random_uuid(), 'NoteTagged', 'Note', 'a', '1', '{}', 'Note:' || n, n % 64,
        now(), now(), n, now() + interval '1 hour' from generate_series(1, ${many}) n`,
    )
    await bench.sql(`select setval('domain_events_sequence', ${many})`)
  } else {
    await bench.sql(
      `insert into domain_events (${columns})
      with recursive numbers(n) as (select 1 union all select n + 1 from numbers where n < ${many})
      select 'id ' || n, 'NoteTagged', 'Note', 'a', '1', '{}', 'Note:' || n, n % 64, 0, 0, n, (unixepoch() + 3600) * 1000 from numbers`,
    )
    await bench.sql('update outbox_sequence set value = ?', [many])
  }
}

// Each failure makes the relay forget what it read, and look anew for what comes before the heads that wait: once row by row
// with each of them, which took minutes.
test.each(['postgresql', 'sqlite'] as const)(
  'events that fail do not stop a relay on %s beside twenty thousand keys that wait',
  { timeout: 60_000 },
  async (dialect) => {
    const bench = await open(dialect)
    // The statistics of a table that was empty then: no help to the planner.
    await bench.sql('analyze')
    await storeDelayed(bench, dialect)
    const keys = Array.from({ length: 20 }, (_, n) => `key ${n}`)
    for (const key of keys) await bench.record(key, [1, 2, 3])
    const seen = new Map<string, unknown[]>()
    let calls = 0
    const publisher = ({ aggregateId, payload }: OutboxEvent) => {
      if (calls++ % 3 === 0) throw new Error('not now')
      seen.set(aggregateId, [...(seen.get(aggregateId) ?? []), payload])
    }
    const relay = bench.outbox.relay({ publisher, retry: { attempts: 100, baseMs: 10, maxMs: 50 } })
    await relay.start()
    await expect.poll(() => relay.status().published, { interval: 20, timeout: 50_000 }).toBe(3 * keys.length)
    await relay.stop()
    for (const key of keys) expect(seen.get(key)).toEqual([1, 2, 3])
    expect(relay.status().retried).toBeGreaterThan(keys.length / 2)
  },
)

// Each reading of a batch's size found keys to park, and the next began anew with the same size: half a minute. What was read
// in vain then made one that was not as large.
test.each(['postgresql', 'sqlite'] as const)(
  'a small batch on %s does not wait for twenty thousand keys that wait, and stays small',
  { timeout: 60_000 },
  async (dialect) => {
    const bench = await open(dialect)
    await storeDelayed(bench, dialect)
    const keys = Array.from({ length: 100 }, (_, n) => `key ${n}`)
    for (const key of keys) await bench.record(key, [1])
    const sizes: number[] = []
    const publisher: Publisher = {
      name: 'p',
      publish: async (events) => {
        sizes.push(events.length)
        return events.map(() => ({ status: 'published' }))
      },
    }
    const relay = bench.outbox.relay({ publisher, batchSize: 10 })
    await relay.start()
    await expect.poll(() => relay.status().published, { interval: 20, timeout: 12_000 }).toBe(100)
    await relay.stop()
    expect(Math.max(...sizes)).toBe(10)
  },
)
