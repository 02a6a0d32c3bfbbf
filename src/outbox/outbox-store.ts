import type { EntityManager, MikroORM } from '@mikro-orm/core'
import { migrationMissing } from '../database/migration-missing.ts'
import { type Dialect, dialectOf, runSql } from '../database/sql.ts'
import { sqlAmong, sqlEpochMs, sqlNow, sqlRows, sqlUntil } from './store-sql.ts'
import type { Watermark } from './watermark.ts'

/** A pending event as the relay reads it: never an entity, its JSON still text. */
export interface StoredEvent {
  readonly id: string
  readonly type: string
  readonly aggregateType: string
  readonly aggregateId: string
  readonly payloadJson: string
  readonly headersJson: string
  readonly orderingKey: string | null
  readonly bucket: number
  readonly sequence: bigint
  readonly schemaVersion: number
  readonly attempts: number
  readonly createdAt: Date
  /** Milliseconds until it may be published; 0 when it may. */
  readonly waitMs: number
  /** It was in hand when a relay crashed. */
  readonly suspect: boolean
}

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
  /** Events to leave out, since they are in hand or wait. */
  readonly exceptIds: readonly string[]
}

/** An event in the hand of a relay: a write to it counts only while the bucket's epoch is still this one. */
export interface HeldEvent {
  readonly id: string
  readonly bucket: number
  readonly epoch: number
}

/** What happens to published events: `keep` marks them, `delete` removes them. */
export type MarkMode = 'keep' | 'delete'

/** Begins the `last_error` of an event that was in hand when a relay crashed. */
export const crashMark = 'RELAY_CRASHED'

interface EventRow {
  id: string
  event_type: string
  aggregate_type: string
  aggregate_id: string
  payload: string
  headers: string
  ordering_key: string | null
  bucket: number
  sequence: string
  schema_version: number
  attempts: number
  created_ms: number
  wait_ms: number | null
  suspect: number
}

/** The statements of the relay's hot path: fetch, note, mark. None holds a lock while events are published. */
export class OutboxStore {
  readonly dialect: Dialect
  readonly #orm: MikroORM
  readonly #held: string

  constructor(orm: MikroORM) {
    this.#orm = orm
    this.dialect = dialectOf(orm)
    // The fence: of the events in hand those whose bucket still has the epoch under which they were fetched.
    this.#held = `select s.id from ${sqlRows(this.dialect, 's', { id: 'uuid', bucket: 'int', epoch: 'bigint' })}
      join outbox_leases l on l.bucket = s.bucket and l.epoch = s.epoch`
  }

  /**
   * Reads pending events in sequence order; also those whose time has not come, since they hold back their key. Relies on
   * domain_events_pending_index. One statement, one snapshot: whoever sees an event sees all that its key committed before.
   */
  async fetch({ shares, quota, limit, exceptKeys, exceptIds }: FetchRequest): Promise<StoredEvent[]> {
    if (shares.length === 0) return []
    const table = sqlRows(this.dialect, 's', { bucket: 'int', after: 'bigint' })
    const except = this.#except(exceptKeys, exceptIds)
    const rows = JSON.stringify(shares.map(({ bucket, after }) => ({ bucket, after: String(after) })))
    const mine = `status = 'pending' and bucket = s.bucket and sequence > s."after"${except.sql}`
    return this.dialect === 'postgresql'
      ? this.#events(
          `select ${this.#columns} from ${table} cross join lateral (
            select * from domain_events where ${mine} order by sequence limit ?
          ) as e order by e.sequence limit ?`,
          [rows, ...except.params, quota, limit],
        )
      : this.#events(
          // SQLite has no lateral join: the last row of each bucket is looked up first.
          `with bounds as materialized (
            select s.bucket, s."after", coalesce((
              select sequence from domain_events where ${mine} order by sequence limit 1 offset ?
            ), 9223372036854775807) as last from ${table}
          )
          select ${this.#columns} from bounds as s cross join domain_events as e
            on ${mine.replace('bucket = s.bucket', 'e.bucket = s.bucket')} and e.sequence <= s.last
          order by e.sequence limit ?`,
          [...except.params, quota - 1, rows, ...except.params, limit],
        )
  }

  /** Reads those of these events that are still pending. Relies on the primary key. */
  async fetchByIds(ids: readonly string[]): Promise<StoredEvent[]> {
    const rows = JSON.stringify(ids.map((id) => ({ id })))
    const among = sqlAmong(this.dialect, 'e.id', `select s.id from ${sqlRows(this.dialect, 's', { id: 'uuid' })}`)
    return this.#events(
      `select ${this.#columns} from domain_events as e where e.status = 'pending' and ${among} order by e.sequence`,
      [rows],
    )
  }

  /**
   * Takes a sample for the watermark. SQLite has one writer at a time: what is visible there is complete, and so is the sample.
   */
  async sampleSequence(watermark: Watermark): Promise<void> {
    if (this.dialect === 'sqlite') {
      const [row] = await this.run<{ last: string }>('select cast(value as text) as last from outbox_sequence')
      watermark.trust(BigInt(row?.last ?? 0))
      return
    }
    const [row] = await this.run<{ last: string; xmin: string; xmax: string }>(
      `select last_value::text as last, pg_snapshot_xmin(pg_current_snapshot())::text as xmin,
        pg_snapshot_xmax(pg_current_snapshot())::text as xmax from domain_events_sequence`,
    )
    if (row !== undefined) watermark.add({ last: BigInt(row.last), xmin: BigInt(row.xmin), xmax: BigInt(row.xmax) })
  }

  /**
   * Tells whether an event is due outside these buckets: in the hand of another relay, or of one that died. Events behind a
   * head that waits are not due.
   */
  async dueOutside(buckets: readonly number[]): Promise<boolean> {
    const now = sqlNow(this.dialect)
    const ours = sqlRows(this.dialect, 's', { bucket: 'int' })
    const rows = await this.run(
      `select 1 as due from domain_events e where e.status = 'pending' and e.bucket not in (select s.bucket from ${ours})
        and (e.available_at is null or e.available_at <= ${now})
        and not exists (select 1 from domain_events w where w.status = 'pending' and w.bucket = e.bucket
          and w.ordering_key = e.ordering_key and w.sequence < e.sequence and w.available_at > ${now})
        and not exists (select 1 from outbox_dead_letters d where d.blocks_key and d.bucket = e.bucket
          and d.ordering_key = e.ordering_key)
      limit 1`,
      [JSON.stringify(buckets.map((bucket) => ({ bucket })))],
    )
    return rows.length > 0
  }

  /** Notes which events a relay is about to publish, for whoever finds it crashed. */
  async noteInFlight(relay: string, ids: readonly string[]): Promise<void> {
    // A crash of the database forgets the note, and it is not the database's crash that the note is for.
    const relaxed = this.dialect === 'postgresql' ? ` and ${relaxedCommit}` : ''
    const note = this.dialect === 'postgresql' ? '?::json' : '?'
    await this.run(`update outbox_relays set in_flight = ${note} where id = ?${relaxed}`, [JSON.stringify(ids), relay])
  }

  /**
   * Marks or deletes published events in one statement, and resolves to the ids that it could: of the others the lease was
   * lost. On PostgreSQL it does not wait for the disk: a mark that a crash undoes is only a repetition.
   */
  async markPublished(events: readonly HeldEvent[], mode: MarkMode): Promise<ReadonlySet<string>> {
    const relaxed = this.dialect === 'postgresql' ? ` where ${relaxedCommit}` : ''
    const among = sqlAmong(this.dialect, 'id', `${this.#held}${relaxed}`)
    const now = sqlNow(this.dialect)
    const change =
      mode === 'delete'
        ? 'delete from domain_events'
        : `update domain_events set status = 'published', published_at = ${now}, updated_at = ${now}, last_error = null`
    const rows = await this.run<{ id: string }>(`${change} where status = 'pending' and ${among} returning id`, [
      JSON.stringify(events),
    ])
    return new Set(rows.map(({ id }) => id))
  }

  /** Runs one statement outside every transaction. */
  async run<Row extends object>(sql: string, params: readonly unknown[] = []): Promise<Row[]> {
    return translated(runSql<Row>(this.#fork(), sql, params))
  }

  /** Runs statements in one transaction. */
  async transaction<Result>(work: (em: EntityManager) => Promise<Result>): Promise<Result> {
    return translated(this.#fork().transactional(work))
  }

  /** Conditions for what to leave out; subqueries are hashed, so their size costs little per row. */
  #except(keys: readonly string[], ids: readonly string[]): { sql: string; params: string[] } {
    const sql: string[] = []
    const params: string[] = []
    if (keys.length > 0) {
      const rows = sqlRows(this.dialect, 'k', { key: 'text' })
      sql.push(` and (ordering_key is null or ordering_key not in (select k.key from ${rows}))`)
      params.push(JSON.stringify(keys.map((key) => ({ key }))))
    }
    if (ids.length > 0) {
      sql.push(` and id not in (select i.id from ${sqlRows(this.dialect, 'i', { id: 'uuid' })})`)
      params.push(JSON.stringify(ids.map((id) => ({ id }))))
    }
    return { sql: sql.join(''), params }
  }

  get #columns(): string {
    return `e.id, e.event_type, e.aggregate_type, e.aggregate_id, cast(e.payload as text) as payload,
      cast(e.headers as text) as headers, e.ordering_key, e.bucket, cast(e.sequence as text) as sequence, e.schema_version,
      e.attempts, ${sqlEpochMs(this.dialect, 'e.created_at')} as created_ms, ${sqlUntil(this.dialect, 'e.available_at')} as wait_ms,
      case when e.last_error like '${crashMark}%' then 1 else 0 end as suspect`
  }

  async #events(sql: string, params: readonly unknown[]): Promise<StoredEvent[]> {
    const rows = await this.run<EventRow>(sql, params)
    return rows.map((row) => ({
      id: row.id,
      type: row.event_type,
      aggregateType: row.aggregate_type,
      aggregateId: row.aggregate_id,
      payloadJson: row.payload,
      headersJson: row.headers,
      orderingKey: row.ordering_key,
      bucket: row.bucket,
      sequence: BigInt(row.sequence),
      schemaVersion: row.schema_version,
      attempts: row.attempts,
      createdAt: new Date(row.created_ms),
      waitMs: Math.max(0, row.wait_ms ?? 0),
      suspect: row.suspect === 1,
    }))
  }

  #fork(): EntityManager {
    return this.#orm.em.fork({ disableContextResolution: true })
  }
}

/** True, and turns off the wait for the disk for the statement's own transaction. */
const relaxedCommit = `set_config('synchronous_commit', 'off', true) = 'off'`

async function translated<Result>(statement: Promise<Result>): Promise<Result> {
  try {
    return await statement
  } catch (error) {
    throw migrationMissing(error) ?? error
  }
}
