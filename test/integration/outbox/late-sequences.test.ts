import pg from 'pg'
import { expect, onTestFinished, test } from 'vitest'
import { advisoryLockClass, placeKey } from '../../../src/outbox/event/ordering-key.ts'
import type { OutboxEvent } from '../../../src/outbox/publishing/publisher.ts'
import { openSampledOutbox } from '../../support/sampled-outbox.ts'

const late = placeKey('Note:late')

// Only PostgreSQL: SQLite draws its numbers under the lock of its one writer.
test('a lower number that appears after higher ones is published, and before what follows it in its key', {
  timeout: 60_000,
}, async () => {
  const { bench, url, samples } = await openSampledOutbox()
  const seen: OutboxEvent[] = []
  const blocked = new Set(['stuck'])
  const relay = bench.outbox.relay({
    publisher: (event) => {
      if (blocked.has(event.aggregateId)) throw new Error('later')
      seen.push(event)
    },
    retry: { attempts: 100, baseMs: 200, maxMs: 500 },
    pollInterval: { min: 5, max: 20 },
  })
  await relay.start()
  // Parked keys in many buckets, that of the late one too: there the relay passes over what it has read.
  for (let n = 0; n < 200; n++) await bench.record('stuck', [n], { orderingKey: `stuck ${n % 100}` })
  const stuck = await bench.sql('select id from domain_events where bucket = ? limit 1', [late.bucket])
  expect(stuck).toHaveLength(1)

  // As the recorder writes: its numbers are drawn, and nobody sees them yet.
  const writer = new pg.Client({ connectionString: url })
  await writer.connect()
  onTestFinished(() => writer.end())
  await writer.query('begin')
  await writer.query(`select pg_advisory_xact_lock(${advisoryLockClass}, ${late.slot})`)
  const { rows: drawn } = await writer.query<{ sequence: string }>(
    `insert into domain_events (id, event_type, aggregate_type, aggregate_id, payload, headers, ordering_key, bucket, created_at,
      updated_at, sequence)
    select gen_random_uuid(), 'NoteTagged', 'Note', 'late', to_json(n), '{}', 'Note:late', $1, now(), now(),
      nextval('domain_events_sequence') from generate_series(0, 2) as n returning sequence`,
    [late.bucket],
  )
  // The next writer of the key waits for the first.
  const next = bench.record('late', [3])
  for (let n = 0; n < 50; n++) await bench.record('early', [n], { orderingKey: `early ${n}` })
  await expect.poll(() => seen.length, { timeout: 20_000 }).toBe(50)
  const lowest = seen.map(({ sequence }) => sequence).reduce((one, other) => (one < other ? one : other))
  expect(drawn.map(({ sequence }) => BigInt(sequence) < lowest)).toEqual([true, true, true])
  // The relay has looked how far the sequence is often enough for its watermark to move, if it were wrong.
  const before = samples()
  await expect.poll(() => samples(), { timeout: 20_000 }).toBeGreaterThanOrEqual(before + 3)
  expect(seen).toHaveLength(50)

  await writer.query('commit')
  await next
  const payloads = () => seen.filter(({ aggregateId }) => aggregateId === 'late').map(({ payload }) => payload)
  await expect.poll(() => payloads().length, { timeout: 10_000 }).toBe(4)
  expect(payloads()).toEqual([0, 1, 2, 3])
  blocked.clear()
  await expect.poll(() => seen.length, { timeout: 20_000 }).toBe(254)
  await relay.stop()
})
