import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { openTestDatabase } from '../../support/databases.ts'
import { openOutbox } from '../../support/outbox-bench.ts'
import { readDeliveries, startRelayProcess } from '../../support/relay-process.ts'
import { repeats } from '../../support/repeats.ts'

const leaseMs = 3000

// Only PostgreSQL: on SQLite a process that stands still in a transaction holds the whole file, and its transaction is one turn of it.
// A machine that is lost looks the same: its connection stays open, until the network gives it up.
test.each([
  ['while it writes down a retry', 'update domain_events set attempts'],
  ['while it takes another one for dead', 'delete from outbox_relays where expires_at'],
] as const)('a relay that stands still %s is taken over', { timeout: 60_000, repeats }, async (_, statement) => {
  const database = await openTestDatabase('postgresql')
  onTestFinished(() => database.close())
  const bench = await openOutbox(database.url)
  onTestFinished(() => bench.close())
  const folder = mkdtempSync(join(tmpdir(), 'data-access-relay-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const options = { url: database.url, file: join(folder, 'published.jsonl'), leaseMs, batchSize: 10, slowMs: 0 }
  const frozen = await startRelayProcess({
    ...options,
    fail: { payload: 0, as: 'retryable' },
    failpoint: { statement, when: 'after', signal: 'SIGSTOP' },
  })
  onTestFinished(() => frozen.signal('SIGKILL'))
  if (statement.startsWith('update')) await bench.record('a', [0])
  else {
    await bench.sql(`insert into outbox_relays (id, name, publisher, started_at, expires_at)
      values ('019c0000-0000-7000-8000-000000000001', 'dead', 'file', now(), now() - interval '1 second')`)
  }
  const idle = () =>
    bench.sql("select 1 from pg_stat_activity where datname = current_database() and state like 'idle in transaction%'")
  await expect.poll(async () => (await idle()).length, { timeout: 20_000 }).toBe(1)
  const published: string[] = []
  const relay = bench.outbox.relay({
    publisher: {
      name: 'file',
      publish: async (events) => {
        published.push(...events.map(({ aggregateId }) => aggregateId))
        return events.map(() => ({ status: 'published' }))
      },
    },
    ...{ lease: leaseMs, publishTimeout: leaseMs / 2, pollInterval: { min: 5, max: 50 } },
  })
  await relay.start()
  const keys = ['b', 'c', 'd', 'e', 'f']
  for (const key of keys) await bench.record(key, [1])
  await expect.poll(() => published.toSorted(), { timeout: 20_000 }).toEqual(expect.arrayContaining(keys))
  await expect.poll(() => relay.status().buckets.length, { timeout: 20_000 }).toBe(64)
  await relay.stop()
  // Woken, it finds its transaction gone, and goes on.
  frozen.signal('SIGCONT')
  await frozen.stop()
  expect(await frozen.ended).toBe(null)
  // Nothing was published before it stood still, so nothing comes twice.
  const arrived = [...published, ...readDeliveries(options.file).map(({ key }) => key.replace('Note:', ''))]
  expect(new Set(arrived).size).toBe(arrived.length)
})
