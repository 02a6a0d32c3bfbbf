import pg from 'pg'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { EventStore, type FetchRequest } from '../../../src/outbox/store/event-store.ts'
import { OutboxStore } from '../../../src/outbox/store/outbox-store.ts'
import { ProgressStore } from '../../../src/outbox/store/progress-store.ts'
import { SettlementStore } from '../../../src/outbox/store/settlement-store.ts'
import { Watermark } from '../../../src/outbox/store/watermark.ts'
import { openTestDatabase, type TestDatabase } from '../../support/databases.ts'
import { type OutboxUnderTest, openOutbox } from '../../support/outbox-bench.ts'

const many = process.env.SOAK === '1' ? 200_000 : 20_000

/** A backlog of which the statistics do not know. */
const unforeseen = Math.max(many, 100_000)

/** A few pages for each bucket, however many rows there are: below a tenth of what the smallest table here has. */
const fewBuffers = 64 * 12

interface Cost {
  /** Pages of 8 kB that were looked at. */
  readonly buffers: number
  readonly plan: string
}

describe('a fetch on PostgreSQL', () => {
  let database: TestDatabase
  let bench: OutboxUnderTest

  beforeEach(async () => {
    database = await openTestDatabase('postgresql')
    bench = await openOutbox(database.url)
    await bench.sql('alter table domain_events set (autovacuum_enabled = false)')
  })
  afterEach(async () => {
    await bench.close()
    await database.close()
  })

  const store = (keys: number) => storeEvents(bench, keys)
  const requestOf = (after: bigint, exceptKeys: string[] = []): FetchRequest => ({
    shares: Array.from({ length: 64 }, (_, bucket) => ({ bucket, after })),
    quota: 8,
    limit: 500,
    exceptKeys,
    exceptSequences: [],
  })
  /** Asks PostgreSQL what the very statement costs. */
  const costOf = async (request: FetchRequest): Promise<Cost> => {
    const explaining = new OutboxStore(bench.data.orm)
    const plans: string[] = []
    explaining.run = async (sql, params = []) => {
      const rows = await bench.sql<{ 'QUERY PLAN': unknown }>(`explain (analyze, buffers, format json) ${sql}`, params)
      plans.push(JSON.stringify(rows[0]?.['QUERY PLAN']))
      return []
    }
    await new EventStore(explaining).fetch(request)
    const plan = plans[0] as string
    const [{ Plan: top }] = JSON.parse(plan) as [{ Plan: { 'Shared Hit Blocks': number; 'Shared Read Blocks': number } }]
    return { buffers: top['Shared Hit Blocks'] + top['Shared Read Blocks'], plan }
  }

  test.each(['never taken', 'taken on an empty table', 'fresh'])(
    'reads by the index of pending events with statistics that were %s',
    async (statistics) => {
      if (statistics === 'taken on an empty table') await bench.sql('analyze domain_events')
      await storeEvents(bench, 640, statistics === 'fresh' ? many : unforeseen)
      if (statistics === 'fresh') await bench.sql('analyze domain_events')
      const { plan, buffers } = await costOf(requestOf(0n, ['Note:1', 'Note:2']))
      expect(plan).toContain('domain_events_pending_index')
      expect(plan).not.toMatch(/"Node Type":"Seq Scan"[^{}]*"Relation Name":"domain_events"/)
      expect(buffers).toBeLessThan(64 * 20)
    },
  )

  test('that notes what it finds keeps no plan that only serves a small table', async () => {
    const connection = new pg.Client({ connectionString: database.url })
    await connection.connect()
    await bench.record('first', [1])
    await bench.sql('vacuum analyze domain_events')
    const buckets = [...Array(64).keys()]
    const fetch = 'select * from domain_events_fetch($1, $2, 8, 500, $3, 0)'
    const params = [buckets, buckets.map(() => 0), '0193a2b4-0000-7000-8000-000000000001']
    // After five plans of their own PostgreSQL may keep one for all that follow.
    for (let n = 0; n < 10; n++) expect((await connection.query(fetch, params)).rows).toHaveLength(1)
    await store(640)
    const { rows } = await connection.query(`explain (analyze, buffers, format json) ${fetch}`, params)
    const [{ Plan: top }] = rows[0]['QUERY PLAN'] as [{ Plan: { 'Shared Hit Blocks': number } }]
    expect(top['Shared Hit Blocks']).toBeLessThan(64 * 20)
    await connection.end()
  })

  test('passes over what waits behind a blocked key', async () => {
    await store(1)
    const events = new EventStore(new OutboxStore(bench.data.orm))
    const first = await events.fetch({ ...requestOf(0n), quota: many, limit: many })
    expect(first).toHaveLength(many)
    const last = first.at(-1)?.sequence as bigint
    await bench.record('other', [1, 2])
    const request = requestOf(last, ['Note:0'])
    expect(await events.fetch(request)).toHaveLength(2)
    expect((await costOf(request)).buffers).toBeLessThan(fewBuffers)
    // What it would cost to read from the beginning.
    expect((await costOf(requestOf(0n, ['Note:0']))).buffers).toBeGreaterThan(many / 100)
  })

  test('passes over what was published behind transactions that keep dead rows', { timeout: 120_000 }, async () => {
    const idle = [new pg.Client({ connectionString: database.url }), new pg.Client({ connectionString: database.url })]
    for (const client of idle) {
      await client.connect()
      await client.query('begin isolation level repeatable read')
      await client.query('select 1')
    }
    // This one also has an id: the oldest that runs, from now on.
    await idle[1]?.query('select pg_current_xact_id()')
    await store(640)
    await bench.sql("update domain_events set status = 'published', published_at = now()")
    await bench.sql('vacuum domain_events')
    const events = new EventStore(new OutboxStore(bench.data.orm))
    const watermark = new Watermark()
    for (let sample = 0; sample < 2; sample++) await events.sampleSequence(watermark)
    expect(watermark.value).toBe(BigInt(many))
    expect((await costOf(requestOf(watermark.value))).buffers).toBeLessThan(fewBuffers)
    expect((await costOf(requestOf(0n))).buffers).toBeGreaterThan(many / 2)
    for (const client of idle) await client.end()
  })

  test('a number that nobody has drawn is not trusted, so that the very first event is not passed over', async () => {
    const events = new EventStore(new OutboxStore(bench.data.orm))
    const watermark = new Watermark()
    for (let sample = 0; sample < 3; sample++) await events.sampleSequence(watermark)
    expect(watermark.value).toBe(0n)
    await bench.record('first', [1])
    for (let sample = 0; sample < 2; sample++) await events.sampleSequence(watermark)
    expect(watermark.value).toBe(1n)
  })
  test.each(['pg_advisory_xact_lock(14318091, 7)', 'pg_advisory_xact_lock_shared(14318091, -1)'])(
    'never trusts a number that a transaction with %s may still bring',
    async (lock) => {
      const events = new EventStore(new OutboxStore(bench.data.orm))
      const watermark = new Watermark()
      const writer = new pg.Client({ connectionString: database.url })
      writer.on('error', () => {})
      await writer.connect()
      await writer.query('begin')
      await writer.query(`select ${lock}, nextval('domain_events_sequence')`)
      for (let sample = 0; sample < 5; sample++) await events.sampleSequence(watermark)
      expect(watermark.value).toBe(0n)
      await writer.query('commit')
      await events.sampleSequence(watermark)
      expect(watermark.value).toBe(1n)
      await writer.end()
    },
  )
})

describe('the writes of a relay on PostgreSQL', () => {
  test.each(['never taken', 'taken on an empty table', 'fresh'])(
    'find their events by an index with statistics that were %s',
    async (statistics) => {
      // Before there are connections, which keep what they were made of.
      const texts: string[] = []
      const { query } = pg.Client.prototype
      pg.Client.prototype.query = function (this: pg.Client, ...args: unknown[]) {
        texts.push(...String(args[0]).split('\n;'))
        return Reflect.apply(query, this, args)
      } as typeof query
      const database = await openTestDatabase('postgresql')
      const bench = await openOutbox(database.url)
      await bench.sql('alter table domain_events set (autovacuum_enabled = false)')
      if (statistics === 'taken on an empty table') await bench.sql('analyze')
      await storeEvents(bench, 640)
      if (statistics === 'fresh') await bench.sql('analyze')
      const rows = await bench.sql<{ id: string; bucket: number }>(
        'select id, bucket from domain_events order by sequence desc limit 20',
      )
      const held = rows.map(({ id, bucket }) => ({ id, bucket, epoch: 0 }))
      const store = new OutboxStore(bench.data.orm)
      const [progress, settlements] = [new ProgressStore(store), new SettlementStore(store)]
      const failed = { attempts: 1, error: 'no' }
      texts.length = 0
      try {
        await progress.markPublished(held.slice(0, 5), 'keep')
        await progress.markPublished(held.slice(5, 10), 'delete')
        await settlements.markRetries(held.slice(10, 12).map((one) => ({ ...one, ...failed, delayMs: 1 })))
        const letter = { ...failed, reason: 'permanent', blocksKey: false } as const
        await settlements.moveToDeadLetters(held.slice(12, 14).map((one) => ({ ...one, ...letter })))
        await settlements.moveToDeadLetters(
          held.slice(14, 16).map((one) => ({ ...one, ...letter })),
          true,
        )
        await store.transaction((em) => settlements.blameCrash(em, '0193a2b4-0000-7000-8000-000000000001', [7n, 8n, 9n]))
      } finally {
        pg.Client.prototype.query = query
      }
      const statements = texts.filter((text) => /\bdomain_events\b/.test(text))
      expect(statements).toHaveLength(6)
      const reads: string[] = []
      for (const statement of statements) {
        const plan = await bench.sql<{ 'QUERY PLAN': string }>(`explain ${statement.replace(/^(set local [^;]+;\n)+/, '')}`)
        const lines = plan.map((line) => line['QUERY PLAN'])
        reads.push(...lines.filter((line) => / on domain_events/.test(line) && !/^(Update|Delete) on/.test(line.trim())))
      }
      expect(reads.filter((line) => /Seq Scan/.test(line))).toEqual([])
      expect(reads.length).toBeGreaterThan(5)
      await bench.close()
      await database.close()
    },
  )
})

/** Stores events as a program of years would have: every key of the same bucket when `keys` is one. */
function storeEvents(bench: OutboxUnderTest, keys: number, count = many): Promise<object[]> {
  return bench.sql(
    `insert into domain_events (id, event_type, aggregate_type, aggregate_id, payload, headers, ordering_key, bucket, created_at,
      updated_at, sequence)
    select gen_random_uuid(), 'NoteTagged', 'Note', 'a', '1', '{}', 'Note:' || n % ?::int, n % ?::int % 64, now(), now(),
      nextval('domain_events_sequence') from generate_series(1, ?::int) as n`,
    [keys, keys, count],
  )
}
