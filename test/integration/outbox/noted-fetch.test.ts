import pg from 'pg'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { EventStore, type FetchRequest } from '../../../src/outbox/store/event-store.ts'
import { type InFlightNote, readInFlightNote } from '../../../src/outbox/store/in-flight-note.ts'
import { LeaseStore } from '../../../src/outbox/store/lease-store.ts'
import { OutboxStore } from '../../../src/outbox/store/outbox-store.ts'
import { RelayMarks } from '../../../src/outbox/store/relay-marks.ts'
import { openTestDatabase, type TestDatabase } from '../../support/databases.ts'
import { type OutboxUnderTest, openOutbox } from '../../support/outbox-bench.ts'

const relay = '0193a2b4-0000-7000-8000-000000000001'
const everything: FetchRequest = {
  shares: Array.from({ length: 64 }, (_, bucket) => ({ bucket, after: 0n })),
  quota: 100,
  limit: 100,
  exceptKeys: [],
  exceptSequences: [],
}

describe('a fetch that notes what it found, on PostgreSQL', () => {
  let database: TestDatabase
  let bench: OutboxUnderTest
  let events: EventStore

  beforeEach(async () => {
    database = await openTestDatabase('postgresql')
    bench = await openOutbox(database.url)
    const store = new OutboxStore(bench.data.orm)
    events = new EventStore(store)
    await new LeaseStore(store).heartbeat({ id: relay, name: 'r', publisher: 'p' }, 60_000)
  })
  afterEach(async () => {
    await bench.close()
    await database.close()
  })

  const noted = async () => {
    const [row] = await bench.sql<{ in_flight: InFlightNote | null }>('select in_flight from outbox_progress')
    return row?.in_flight === null ? undefined : readInFlightNote(row?.in_flight ?? [])
  }

  test('notes these events and no others', async () => {
    const ids = await bench.record('a', [1, 2, 3])
    await bench.record('b', [4])
    const { rows, note } = await events.fetchNoting({ ...everything, limit: 3 }, new RelayMarks(relay))
    expect(rows.map(({ id }) => id)).toEqual(ids)
    expect(note).toEqual({ redrives: 0, marks: 0 })
    expect(await noted()).toEqual(rows.map(({ sequence }) => sequence))
  })

  test('reads them as a fetch without a note does, to the last column', async () => {
    const [first, second, third] = await bench.record('a', [{ deep: ['“x”', 1e21] }, 2, 3])
    await bench.sql("update domain_events set last_error = 'RELAY_CRASHED: relay x', attempts = 2 where id = ?", [first])
    await bench.sql("update domain_events set available_at = now() - interval '1 hour', headers = ? where id = ?", [
      '{"a":"b"}',
      second,
    ])
    await bench.sql('update domain_events set ordering_key = null, last_error = ? where id = ?', ['boom', third])
    const { rows } = await events.fetchNoting(everything, new RelayMarks(relay))
    expect(rows).toEqual(await events.fetch(everything))
    expect(rows.map(({ suspect, attempts, orderingKey }) => ({ suspect, attempts, orderingKey }))).toEqual([
      { suspect: true, attempts: 2, orderingKey: 'Note:a' },
      { suspect: false, attempts: 0, orderingKey: 'Note:a' },
      { suspect: false, attempts: 0, orderingKey: null },
    ])
  })

  test('brings the events also for a relay that is registered no more, and tells that it noted nothing', async () => {
    const ids = await bench.record('a', [1])
    await bench.sql('delete from outbox_progress')
    const { rows, note } = await events.fetchNoting(everything, new RelayMarks(relay))
    expect(rows.map(({ id }) => id)).toEqual(ids)
    expect(note).toBeUndefined()
  })

  test('leaves the note alone when it finds nothing', async () => {
    expect(await events.fetchNoting(everything, new RelayMarks(relay))).toEqual({ rows: [], note: undefined })
    expect(await noted()).toBeUndefined()
  })

  test.each([
    ['has its time still to come', "available_at = now() + interval '1 hour'"],
    ['was in hand at a crash', "last_error = 'RELAY_CRASHED: relay x'"],
  ])('notes nothing when one of them %s: they will not be published together', async (_, change) => {
    const [first] = await bench.record('a', [1, 2])
    await bench.sql(`update domain_events set ${change} where id = ?`, [first])
    const { rows, note } = await events.fetchNoting(everything, new RelayMarks(relay))
    expect(rows).toHaveLength(2)
    expect(note).toBeUndefined()
    expect(await noted()).toBeUndefined()
  })

  test('is missed before a relay registers where its migration has not run', async () => {
    await bench.sql('drop function domain_events_fetch')
    await bench.sql("delete from mikro_orm_migrations where name like 'data-access-004%'")
    await bench.sql('delete from outbox_relays')
    await bench.record('a', [1])
    const seen: unknown[] = []
    const ours = () => bench.outbox.relay({ publisher: ({ payload }) => void seen.push(payload) })
    const missing = { code: 'MIGRATION_MISSING', message: expect.stringContaining('data.migrate()') }
    await expect(ours().start()).rejects.toMatchObject(missing)
    await expect(ours().drain()).rejects.toMatchObject(missing)
    expect(await bench.sql('select id from outbox_relays')).toEqual([])
    await bench.data.migrate()
    await ours().drain()
    expect(seen).toEqual([1])
  })

  test('learns of a redrive that commits while it runs', async () => {
    await bench.record('a', [1])
    const redriver = new pg.Client({ connectionString: database.url })
    await redriver.connect()
    await redriver.query('begin')
    await redriver.query('update outbox_progress set redrives = redrives + 1')
    const fetched = events.fetchNoting(everything, new RelayMarks(relay))
    const waits = "select 1 as one from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    await expect.poll(() => bench.sql(waits), { interval: 5, timeout: 10_000 }).toHaveLength(1)
    await redriver.query('commit')
    await redriver.end()
    expect(await fetched).toMatchObject({ note: { redrives: 1 }, rows: [{ payloadJson: '1' }] })
    expect(await noted()).toHaveLength(1)
  })

  describe('in a relay that nothing fails', () => {
    const { query } = pg.Client.prototype
    let statements: string[]

    beforeEach(async () => {
      for (const table of ['outbox_progress', 'outbox_relays']) await bench.sql(`delete from ${table}`)
      statements = []
      pg.Client.prototype.query = function (this: pg.Client, ...args: unknown[]) {
        const [first] = args
        statements.push(typeof first === 'string' ? first : ((first as { text?: string } | undefined)?.text ?? ''))
        return Reflect.apply(query, this, args)
      } as typeof query
    })
    afterEach(() => {
      pg.Client.prototype.query = query
    })

    test('saves the round trip of a note of its own', async () => {
      const notes: unknown[] = []
      const running = bench.outbox.relay({ publisher: async () => void notes.push(await noted()) })
      await running.start()
      for (let n = 0; n < 5; n++) {
        await bench.record('a', [n])
        await expect.poll(() => running.status().published, { interval: 2, timeout: 10_000 }).toBe(n + 1)
      }
      await running.stop()
      expect(notes).toEqual([[1n], [2n], [3n], [4n], [5n]])
      expect(statements.filter((text) => text.startsWith('update outbox_progress set in_flight'))).toHaveLength(0)
    })

    test('comes before what the relay looks at each second, when a commit ends its wait', async () => {
      const before: string[][] = []
      const running = bench.outbox.relay({ publisher: () => void before.push([...statements]), pollInterval: { min: 60_000 } })
      await running.start()
      await bench.record('a', [1])
      await expect.poll(() => before.length, { timeout: 10_000 }).toBe(1)
      // Longer than a second after the relay last looked.
      await new Promise((resolve) => setTimeout(resolve, 1200))
      statements.length = 0
      await bench.record('a', [2])
      await expect.poll(() => before.length, { timeout: 10_000 }).toBe(2)
      const looks = (sent: readonly string[] = []) => sent.filter((text) => text.includes('where blocks_key'))
      expect(looks(before[1])).toHaveLength(0)
      await expect.poll(() => looks(statements).length, { timeout: 10_000 }).toBe(1)
      await running.stop()
    })
  })
})
