import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { pruneBatch } from '../../../src/outbox/store/retention.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../../support/databases.ts'
import { type OutboxUnderTest, openOutbox } from '../../support/outbox-bench.ts'
import { listStatements, type SentStatements } from '../../support/sent-statements.ts'

const many = 2500

describe.each(dialects)('pruning on %s', (dialect) => {
  let database: TestDatabase
  let statements: SentStatements
  let bench: OutboxUnderTest

  beforeEach(async () => {
    statements = listStatements()
    database = await openTestDatabase(dialect)
    bench = await openOutbox(database.url)
    await bench.record(
      'published',
      Array.from({ length: many }, (_, n) => n),
    )
    const hourAgo = dialect === 'postgresql' ? "now() - interval '1 hour'" : 'created_at - 3600000'
    const columns = ['created_at', 'updated_at', 'published_at'].map((column) => `${column} = ${hourAgo}`)
    await bench.sql(`update domain_events set status = 'published', ${columns}`)
    await bench.sql(
      `insert into outbox_failures (event_id, attempt, failed_at, error) select id, 1, created_at, 'no' from domain_events`,
    )
    await bench.record('pending', [1])
    statements.sent.length = 0
  })
  afterEach(async () => {
    statements.end()
    await bench.close()
    await database.close()
  })

  /** How many rows each deletion from a table gave back, and whether it stood in a longer transaction. */
  const deletions = (table: string) => {
    let inside = false
    const found: { rows: number | undefined; alone: boolean }[] = []
    for (const { text, rows } of statements.sent) {
      if (/^(begin|start transaction)/i.test(text)) inside = true
      if (/^(commit|rollback)$/i.test(text)) inside = false
      if (text.startsWith(`delete from ${table}`)) found.push({ rows, alone: !inside })
    }
    return found
  }
  const left = async () =>
    [await bench.rows(), await bench.sql('select event_id from outbox_failures')].map((rows) => rows.length)

  test('by hand goes in batches, each a transaction of its own', async () => {
    expect(pruneBatch).toBe(1000)
    expect(await bench.outbox.prune({ keepMs: 60_000 })).toBe(many)
    for (const table of ['domain_events', 'outbox_failures']) {
      expect(deletions(table)).toEqual([1000, 1000, 500].map((rows) => ({ rows, alone: true })))
    }
    expect(await left()).toEqual([1, 0])
  })

  test('by a relay goes in batches too, one after the other without a wait', async () => {
    const relay = bench.outbox.relay({ publisher: () => {}, retention: { keepMs: 60_000 } })
    await relay.start()
    await expect.poll(left, { timeout: 10_000 }).toEqual([1, 0])
    await relay.stop()
    for (const table of ['domain_events', 'outbox_failures']) {
      expect(deletions(table)).toEqual([1000, 1000, 500].map((rows) => ({ rows, alone: true })))
    }
  })
})
