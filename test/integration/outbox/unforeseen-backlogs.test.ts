import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { expect, onTestFinished, test } from 'vitest'
import { dialects, openTestDatabase, type TestDialect } from '../../support/databases.ts'
import { type OutboxUnderTest, openOutbox } from '../../support/outbox-bench.ts'
import { startTraffic, type Traffic } from '../../support/outbox-traffic.ts'

const soak = process.env.SOAK === '1'

async function open(dialect: TestDialect) {
  const database = await openTestDatabase(dialect)
  onTestFinished(() => database.close())
  const bench = await openOutbox(database.url)
  onTestFinished(() => bench.close())
  return { url: database.url, bench }
}

/** Records so many events of 64 keys, of each in order. */
async function recordMany(bench: OutboxUnderTest, count: number, name: (key: number) => string): Promise<void> {
  const perKey = count / 64
  const payloads = Array.from({ length: perKey }, (_, n) => n)
  for (let key = 0; key < 64; key++) await bench.record(name(key), payloads)
}

/** Checks what has to hold through faults too, and that nothing came twice where there are none. */
async function finishOnceEach(traffic: Traffic): Promise<void> {
  await traffic.finish()
  expect(new Set(traffic.delivered.map(({ id }) => id)).size).toBe(traffic.delivered.length)
}

test.each(dialects)(
  'a relay on %s takes up a backlog of which the statistics do not know, and what comes to the same keys meanwhile',
  { timeout: 600_000 },
  async (dialect) => {
    const { bench } = await open(dialect)
    if (dialect === 'postgresql') await bench.sql('alter table domain_events set (autovacuum_enabled = false)')
    await bench.sql('analyze')
    const backlog = soak ? 102_400 : 3200
    await recordMany(bench, backlog, (key) => ['a', 'b', 'c', 'd'][key] ?? `k${key}`)
    const traffic = await startTraffic(bench, bench, { batchSize: 500 })
    for (let part = 0; part < 20; part++) await traffic.grown(backlog / 20)
    await finishOnceEach(traffic)
  },
)

test('a relay on PostgreSQL goes on beside transactions that keep all that was published', { timeout: 600_000 }, async () => {
  const { url, bench } = await open('postgresql')
  await recordMany(bench, soak ? 204_800 : 3200, (key) => `k${key}`)
  for (const begin of ['begin isolation level repeatable read; select 1', 'begin; select pg_current_xact_id()']) {
    const idle = new pg.Client({ connectionString: url })
    idle.on('error', () => {})
    await idle.connect()
    await idle.query(begin)
  }
  await bench.sql("update domain_events set status = 'published', published_at = now()")
  // Between the numbers of a unit and its commit others come up.
  await bench.sql(`create function take_time() returns trigger language plpgsql as $$
    begin perform pg_sleep(random() * 0.02); return null; end $$`)
  await bench.sql('create trigger take_time after insert on domain_events for each statement execute function take_time()')
  const traffic = await startTraffic(bench, bench)
  // Until it has looked how far the sequence is, and passes over what it has read.
  await delay(2500)
  await traffic.grown(100)
  await finishOnceEach(traffic)
})
