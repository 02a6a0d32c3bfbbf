import type { Dialect } from '../../database/sql.ts'
import { advisoryLockClass } from '../event/ordering-key.ts'
import { sqlIsDue } from './due-events.ts'
import type { OutboxStore } from './outbox-store.ts'
import type { RelayMarks, RelayNote } from './relay-marks.ts'
import { idRows, keyIndex, pendingIndex, sqlAmongIds, sqlBy, sqlRows } from './store-sql.ts'
import { type EventRow, type StoredEvent, sqlStoredEvent, toStoredEvent } from './stored-event.ts'
import type { Watermark } from './watermark.ts'

/** Where a fetch begins in a bucket: behind this sequence number. */
export interface FetchShare {
  readonly bucket: number
  readonly after: bigint
}

/** One statement's worth of reading. */
export interface FetchRequest {
  readonly shares: readonly FetchShare[]
  /** The most of one bucket. */
  readonly quota: number
  /** The most in all. */
  readonly limit: number
  /** Ordering keys to leave out, since they wait. */
  readonly exceptKeys: readonly string[]
  /** Events to leave out by their sequence numbers, since they are in hand. */
  readonly exceptSequences: readonly bigint[]
  /** Without payloads and headers, since most will have to wait: {@link EventStore.fetchByIds} brings what goes out. */
  readonly bare?: boolean
}

/** What a fetch brought. */
export interface NotedFetch {
  readonly rows: readonly StoredEvent[]
  /**
   * What the relay's row told when these events, and no others, were noted as in its hand in the same moment; else `undefined`, and
   * they are to be noted before they are published.
   */
  readonly note: RelayNote | undefined
}

/** The first event of a key that a relay knows. */
export interface HeadPlace {
  readonly key: string
  readonly bucket: number
  /** Its sequence number. */
  readonly head: bigint
}

/** The statements with which a relay reads events. None holds a lock on them. */
export class EventStore {
  readonly #store: OutboxStore
  readonly #dialect: Dialect

  constructor(store: OutboxStore) {
    this.#store = store
    this.#dialect = store.dialect
  }

  /**
   * Reads pending events in sequence order; also those whose time has not come, since they hold back their key. Relies on
   * domain_events_pending_index. One statement, one snapshot: whoever sees an event sees all that its key committed before.
   */
  async fetch(request: FetchRequest): Promise<StoredEvent[]> {
    if (request.shares.length === 0) return []
    const { sql, params } = this.#reading(request)
    return this.#events(sql, params)
  }

  /**
   * Fetches, and on PostgreSQL notes what it found as in the hand of a relay: one round trip for both, by the function
   * domain_events_fetch. Makes no note where some of the events found must wait or have failed before, for then not all of them will
   * be published together.
   */
  async fetchNoting(request: Omit<FetchRequest, 'exceptKeys' | 'exceptSequences'>, marks: RelayMarks): Promise<NotedFetch> {
    const { shares, quota, limit } = request
    if (this.#dialect === 'sqlite' || shares.length === 0) {
      return { rows: await this.fetch({ ...request, exceptKeys: [], exceptSequences: [] }), note: undefined }
    }
    const rows = await this.#store.run<EventRow & { redrives: number | null; marks: number | null }>(
      'select * from domain_events_fetch(?, ?, ?, ?, ?, ?)',
      [
        ...[`{${shares.map(({ bucket }) => bucket)}}`, `{${shares.map(({ after }) => after)}}`, quota, limit],
        ...[marks.relay, marks.generation],
      ],
    )
    const { redrives = null, marks: written = null } = rows[0] ?? {}
    if (redrives === null || written === null) return { rows: rows.map(toStoredEvent), note: undefined }
    marks.noted()
    return { rows: rows.map(toStoredEvent), note: { redrives, marks: written } }
  }

  /** Finds out whether the database can be asked what a relay asks, before one registers. @throws DataAccessError `MIGRATION_MISSING`. */
  async check(): Promise<void> {
    if (this.#dialect === 'sqlite') return
    // The table first: without any the function is not what to tell of.
    await this.#store.run(`select from outbox_relays cross join domain_events_fetch('{}', '{}', 0, 0, null, 0) limit 0`)
  }

  /** Reads those of these events that are still pending. Relies on the primary key. */
  async fetchByIds(ids: readonly string[]): Promise<StoredEvent[]> {
    return (await this.#pending<EventRow>(ids, sqlStoredEvent(this.#dialect))).map(toStoredEvent)
  }

  /** The last errors of those of these events that are still pending, by their ids. */
  async lastErrors(ids: readonly string[]): Promise<ReadonlyMap<string, string | null>> {
    const rows = await this.#pending<{ id: string; last_error: string | null }>(ids, 'e.id, e.last_error')
    return new Map(rows.map(({ id, last_error }) => [id, last_error]))
  }

  /**
   * Reads, without their payloads, what is pending before these heads in their keys. Relies on domain_events_pending_index, and looks once at what each bucket
   * has up to the last of the heads, and for each at one head.
   */
  async fetchEarlier(heads: readonly HeadPlace[]): Promise<StoredEvent[]> {
    if (heads.length === 0) return []
    const lasts = new Map<number, bigint>()
    for (const { bucket, head } of heads) if (head > (lasts.get(bucket) ?? 0n)) lasts.set(bucket, head)
    const buckets = sqlRows(this.#dialect, 'b', { bucket: 'int', last: 'bigint' })
    const bucketRows = JSON.stringify([...lasts].map(([bucket, last]) => ({ bucket, last: String(last) })))
    const columns = sqlStoredEvent(this.#dialect, true)
    if (this.#dialect === 'postgresql') {
      // A look into one value, and no join: PostgreSQL does not know how many heads there are, and would compare each row with each.
      return this.#events(
        `select ${columns} from ${buckets} cross join lateral (
          select * from domain_events where status = 'pending' and bucket = b.bucket and sequence < b.last
            and sequence < (?::jsonb ->> ordering_key)::bigint offset 0
        ) as e order by e.sequence`,
        [bucketRows, JSON.stringify(Object.fromEntries(heads.map(({ key, head }) => [key, String(head)])))],
      )
    }
    return this.#events(
      `with heads as materialized (select * from ${sqlRows(this.#dialect, 's', { key: 'text', head: 'bigint' })})
      select ${columns} from ${buckets}
        cross join domain_events as e${sqlBy(this.#dialect, pendingIndex)}
          on e.status = 'pending' and e.bucket = b.bucket and e.sequence < b.last
        cross join heads as p on p.key = e.ordering_key and e.sequence < p.head order by e.sequence`,
      [JSON.stringify(heads.map(({ key, head }) => ({ key, head: String(head) }))), bucketRows],
    )
  }

  /**
   * Tells whether an event is due outside these buckets: in the hand of another relay, or of one that died. Events behind a
   * head that waits are not due.
   */
  async dueOutside(buckets: readonly number[]): Promise<boolean> {
    const ours = sqlRows(this.#dialect, 's', { bucket: 'int' })
    const rows = await this.#store.run(
      `select 1 as due from domain_events e where ${sqlIsDue(this.#dialect)} and e.bucket not in (select s.bucket from ${ours})
      limit 1`,
      [JSON.stringify(buckets.map((bucket) => ({ bucket })))],
    )
    return rows.length > 0
  }

  /**
   * Takes a sample for the watermark; resolves to whether that begins anew. SQLite has one writer at a time: what is visible there is
   * complete, and so is the sample.
   */
  async sampleSequence(watermark: Watermark): Promise<boolean> {
    if (this.#dialect === 'sqlite') {
      const [row] = await this.#store.run<{ last: string }>('select cast(value as text) as last from outbox_sequence')
      watermark.trust(BigInt(row?.last ?? 0))
      return false
    }
    const [row] = await this.#store.run<{ last: string; holders: string[] }>(
      `select (case when is_called then last_value else last_value - 1 end)::text as last, array(
        select distinct virtualtransaction from pg_locks where locktype = 'advisory' and classid = ${advisoryLockClass} and objsubid = 2
          and granted and database = (select oid from pg_database where datname = current_database())
      ) as holders from domain_events_sequence`,
    )
    return row !== undefined && watermark.add({ last: BigInt(row.last), holders: row.holders })
  }

  /** The statement of a fetch, and its parameters. */
  #reading({ shares, quota, limit, exceptKeys, exceptSequences, bare }: FetchRequest): { sql: string; params: unknown[] } {
    const columns = sqlStoredEvent(this.#dialect, bare)
    const table = sqlRows(this.#dialect, 's', { bucket: 'int', after: 'bigint' })
    const except = this.#except(exceptKeys, exceptSequences)
    const rows = JSON.stringify(shares.map(({ bucket, after }) => ({ bucket, after: String(after) })))
    const mine = `status = 'pending' and bucket = s.bucket and sequence > s."after"${except.sql}`
    if (this.#dialect === 'postgresql') {
      return {
        sql: `select ${columns} from ${table} cross join lateral (
          select * from domain_events where ${mine} order by sequence limit ?
        ) as e order by e.sequence limit ?`,
        params: [rows, ...except.params, quota, limit],
      }
    }
    const by = sqlBy(this.#dialect, pendingIndex)
    return {
      // SQLite has no lateral join: the last row of each bucket is looked up first.
      sql: `with bounds as materialized (
          select s.bucket, s."after", coalesce((
            select sequence from domain_events${by} where ${mine} order by sequence limit 1 offset ?
          ), 9223372036854775807) as last from ${table}
        )
        select ${columns} from bounds as s cross join domain_events as e${by}
          on ${mine.replace('bucket = s.bucket', 'e.bucket = s.bucket')} and e.sequence <= s.last
        order by e.sequence limit ?`,
      params: [...except.params, quota - 1, rows, ...except.params, limit],
    }
  }

  /** Conditions for what to leave out; subqueries are hashed, so their size costs little per row. */
  #except(keys: readonly string[], sequences: readonly bigint[]): { sql: string; params: string[] } {
    const sql: string[] = []
    const params: string[] = []
    if (keys.length > 0) {
      const rows = sqlRows(this.#dialect, 'k', { key: 'text' })
      sql.push(` and (ordering_key is null or ordering_key not in (select k.key from ${rows}))`)
      params.push(JSON.stringify(keys.map((key) => ({ key }))))
    }
    if (sequences.length > 0) {
      const postgresql = this.#dialect === 'postgresql'
      sql.push(` and sequence not in (select ${postgresql ? 'unnest(?::bigint[])' : 'value from json_each(?)'})`)
      params.push(postgresql ? `{${sequences}}` : `[${sequences}]`)
    }
    return { sql: sql.join(''), params }
  }

  #pending<Row extends object>(ids: readonly string[], columns: string): Promise<Row[]> {
    const among = sqlAmongIds(this.#dialect, 'e.id')
    const by = sqlBy(this.#dialect, keyIndex)
    const sql = `select ${columns} from domain_events as e${by} where e.status = 'pending' and ${among} order by e.sequence`
    return this.#store.run<Row>(sql, [idRows(ids)])
  }

  async #events(sql: string, params: readonly unknown[]): Promise<StoredEvent[]> {
    return (await this.#store.run<EventRow>(sql, params)).map(toStoredEvent)
  }
}
