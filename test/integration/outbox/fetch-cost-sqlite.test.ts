import { createRequire } from 'node:module'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { EventStore, type FetchRequest } from '../../../src/outbox/store/event-store.ts'
import { OutboxStore } from '../../../src/outbox/store/outbox-store.ts'
import { ProgressStore } from '../../../src/outbox/store/progress-store.ts'
import { prunePublished } from '../../../src/outbox/store/retention.ts'
import { openTestDatabase, type TestDatabase } from '../../support/databases.ts'
import { type OutboxUnderTest, openOutbox } from '../../support/outbox-bench.ts'

const many = 100_000
const blocked = 40_000
const quota = 8

/** A connection of the test's own, to count rows by a function, and since statistics are read when one is opened. */
interface Sqlite {
  prepare(sql: string): { all(...params: unknown[]): Record<string, unknown>[] }
  function(name: string, options: { deterministic: boolean }, body: (value: unknown) => unknown): void
  close(): void
}
const Driver: new (path: string) => Sqlite = createRequire(createRequire(import.meta.url).resolve('@mikro-orm/sqlite'))(
  'better-sqlite3',
)

describe('the statements of a relay on SQLite, at 100,000 pending events', () => {
  let database: TestDatabase
  let bench: OutboxUnderTest
  let sqlite: Sqlite
  let visited: number

  beforeEach(async () => {
    database = await openTestDatabase('sqlite')
    bench = await openOutbox(database.url)
    visited = 0
    sqlite = new Driver(database.url.replace('sqlite:', ''))
    // The same value, and a count of the rows that were looked at for it.
    sqlite.function('looked_at', { deterministic: false }, (value) => {
      visited++
      return value
    })
  })
  afterEach(async () => {
    sqlite.close()
    await bench.close()
    await database.close()
  })

  /** Stores pending events: as many of one key as are blocked, and those of 640 keys behind them. */
  const store = async () => {
    await bench.sql(
      `insert into domain_events (id, event_type, aggregate_type, aggregate_id, payload, headers, ordering_key, bucket, created_at,
        updated_at, sequence)
      with recursive numbers(n) as (select 1 union all select n + 1 from numbers where n < ${many}),
        keys(n, k) as (select n, case when n <= ${blocked} then 0 else n % 640 end from numbers)
      select 'id ' || n, 'NoteTagged', 'Note', 'a', '1', '{}', 'Note:' || k, k % 64, 0, 0, n from keys`,
    )
    await bench.sql('update outbox_sequence set value = ?', [many])
  }
  const requestOf = (after: number, exceptKeys: string[]): FetchRequest => ({
    shares: Array.from({ length: 64 }, (_, bucket) => ({ bucket, after: BigInt(after) })),
    quota,
    limit: 500,
    exceptKeys,
    exceptSequences: [1n, 2n],
  })
  /** The statements that some work sends, with their parameters. */
  const sent = async (work: (store: OutboxStore) => Promise<unknown>) => {
    const recording = new OutboxStore(bench.data.orm)
    const statements: { sql: string; params: readonly unknown[] }[] = []
    recording.run = async (sql, params = []) => {
      statements.push({ sql, params })
      return []
    }
    await work(recording)
    return statements
  }
  const planOf = async (work: (store: OutboxStore) => Promise<unknown>): Promise<string[]> => {
    const statements = await sent(work)
    return statements.flatMap(({ sql, params }) => {
      return sqlite
        .prepare(`explain query plan ${sql}`)
        .all(...params)
        .map(({ detail }) => String(detail))
    })
  }
  /** How many events a fetch looks at, at most two for one: for the end of a bucket's share, and for the share. */
  const costOf = async (request: FetchRequest) => {
    const [statement] = await sent((recording) => new EventStore(recording).fetch(request))
    const counting = (statement?.sql ?? '').replaceAll('ordering_key not in', 'looked_at(ordering_key) not in')
    visited = 0
    const rows = sqlite.prepare(counting).all(...(statement?.params ?? []))
    return { rows: rows.length, visited }
  }

  const statistics: Readonly<Record<string, (fill: () => Promise<void>) => Promise<void>>> = {
    'never taken': (fill) => fill(),
    'taken on an empty table': async (fill) => {
      await bench.sql('analyze')
      await fill()
    },
    'taken when there was one event': async (fill) => {
      await bench.record('a', [1])
      await bench.sql('analyze')
      await bench.sql('delete from domain_events')
      await fill()
    },
    fresh: async (fill) => {
      await fill()
      await bench.sql('analyze')
    },
  }

  test.each(Object.keys(statistics))('go by an index with statistics that were %s', { timeout: 60_000 }, async (when) => {
    await statistics[when]?.(store)
    sqlite.close()
    sqlite = new Driver(database.url.replace('sqlite:', ''))
    const held = [{ id: 'id 7', bucket: 7, epoch: 1 }]
    const fetchAll = await planOf((recording) => new EventStore(recording).fetch(requestOf(0, ['Note:1'])))
    const byPending = fetchAll.filter((line) => line.includes('domain_events_pending_index'))
    // Both look at nothing but the rows of a bucket behind those passed over; the second also ends.
    expect(byPending).toEqual([
      expect.stringMatching(/^SEARCH domain_events USING INDEX \S+ \(bucket=\? AND sequence>\?\)$/),
      expect.stringMatching(/^SEARCH e USING INDEX \S+ \(bucket=\? AND sequence>\? AND sequence<\?\)$/),
    ])
    const earlier = await planOf((recording) =>
      new EventStore(recording).fetchEarlier([{ key: 'Note:7', bucket: 7, head: 900n }]),
    )
    // Of the heads, which are as many as keys that wait, each event is compared with its own alone.
    expect(earlier).toContainEqual(expect.stringMatching(/^SEARCH p USING AUTOMATIC \w*\s?COVERING INDEX \(key=\?/))
    const works: Readonly<Record<string, (recording: OutboxStore) => Promise<unknown>>> = {
      fetch: (recording) => new EventStore(recording).fetch(requestOf(0, ['Note:1'])),
      'fetch by id': (recording) => new EventStore(recording).fetchByIds(['id 7']),
      'fetch earlier': (recording) => new EventStore(recording).fetchEarlier([{ key: 'Note:7', bucket: 7, head: 900n }]),
      'mark by keep': (recording) => new ProgressStore(recording).markPublished(held, 'keep'),
      prune: (recording) => prunePublished(recording, 1000),
      'mark by delete': (recording) => new ProgressStore(recording).markPublished(held, 'delete'),
    }
    for (const [name, work] of Object.entries(works)) {
      const plan = await planOf(work)
      expect({ name, scans: plan.filter((line) => /^SCAN (e|domain_events)\b/.test(line)) }).toEqual({ name, scans: [] })
      expect({ name, searches: plan.some((line) => /^SEARCH (e|domain_events) USING/.test(line)) }).toEqual({
        name,
        searches: true,
      })
    }
  })

  test('a fetch looks at no more than it brings, and once at what waits behind a blocked key', { timeout: 60_000 }, async () => {
    await store()
    const events = new EventStore(new OutboxStore(bench.data.orm))
    // From the beginning it looks at all that waits in that bucket.
    const beginning = await costOf(requestOf(0, ['Note:0']))
    expect(beginning.visited).toBeGreaterThan(blocked)
    expect(beginning.visited).toBeLessThan(2 * blocked + 64 * 2 * 2 * quota)
    // Behind it, at twice the share of each bucket, and at the events of the blocked key that stand between.
    const behind = await costOf(requestOf(blocked, ['Note:0']))
    expect(behind.rows).toBe(500)
    expect(behind.visited).toBeLessThan(64 * 2 * 2 * quota)
    expect(await events.fetch(requestOf(blocked, ['Note:0']))).toHaveLength(500)
    // At the end there is nothing, and nothing is looked at.
    expect(await costOf(requestOf(many, ['Note:0']))).toEqual({ rows: 0, visited: 0 })
  })
})
