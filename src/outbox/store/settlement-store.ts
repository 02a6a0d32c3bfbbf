import type { EntityManager } from '@mikro-orm/core'
import { type Dialect, runSql } from '../../database/sql.ts'
import type { DeadLetterReason } from '../publishing/retry-policy.ts'
import type { OutboxStore } from './outbox-store.ts'
import type { HeldEvent } from './progress-store.ts'
import { idRows, sqlAmong, sqlAmongIds, sqlEpochMs, sqlFromNow, sqlNow, sqlRows, writeLock } from './store-sql.ts'
import { crashMark, crashText } from './stored-event.ts'

/** An event to be tried again. */
export interface RetryWrite extends HeldEvent {
  readonly attempts: number
  readonly delayMs: number
  readonly error: string
}

/** An event to be moved to the dead letters. */
export interface DeadLetterWrite extends HeldEvent {
  readonly attempts: number
  readonly reason: DeadLetterReason
  readonly error: string
  readonly blocksKey: boolean
}

/** A key held by a dead letter. */
export interface BlockedKey {
  readonly orderingKey: string
  readonly bucket: number
}

/** A failed attempt, as a dead letter's history tells it. */
export interface FailedAttempt {
  /** Which try it was, from 1. */
  readonly attempt: number
  readonly failedAt: Date
  /** The error and its causes in words, at most 4000 characters; passwords in URLs are masked. */
  readonly error: string
}

/** The statements for events that failed. They are rare, so each batch of them is one plain transaction. */
export class SettlementStore {
  readonly #store: OutboxStore
  readonly #dialect: Dialect

  constructor(store: OutboxStore) {
    this.#store = store
    this.#dialect = store.dialect
  }

  /** Counts an attempt, sets the time of the next, and keeps the error; resolves to the ids of which the lease still held. */
  async markRetries(writes: readonly RetryWrite[]): Promise<ReadonlySet<string>> {
    const dialect = this.#dialect
    const rows = sqlRows(dialect, 's', {
      id: 'uuid',
      bucket: 'int',
      epoch: 'bigint',
      attempts: 'int',
      delayMs: 'bigint',
      error: 'text',
    })
    return this.#store.transaction(async (em) => {
      const updated = await runSql<{ id: string }>(
        em,
        `update domain_events set attempts = s.attempts, last_error = s.error, updated_at = ${sqlNow(dialect)},
          available_at = ${sqlFromNow(dialect, 's."delayMs"')}
        from ${rows} where domain_events.id = s.id and status = 'pending'
          and exists (select 1 from outbox_leases l where l.bucket = s.bucket and l.epoch = s.epoch) returning domain_events.id`,
        [JSON.stringify(writes)],
      )
      const ids = new Set(updated.map(({ id }) => id))
      const kept = writes.filter(({ id }) => ids.has(id))
      await runSql(
        em,
        `insert into outbox_failures (event_id, attempt, failed_at, error)
        select s.id, s.attempts, ${sqlNow(dialect)}, s.error
        from ${sqlRows(dialect, 's', { id: 'uuid', attempts: 'int', error: 'text' })} where true on conflict do nothing`,
        [JSON.stringify(kept)],
      )
      return ids
    })
  }

  /**
   * Moves events with their history to the dead letters, all or nothing for each; resolves to the ids of which the lease still held.
   *
   * @param again it failed before, and may have been carried out: a letter that was redriven since is left where it is. Resolves to the
   * ids of those that are letters now.
   */
  async moveToDeadLetters(writes: readonly DeadLetterWrite[], again = false): Promise<ReadonlySet<string>> {
    const moved = await (this.#dialect === 'postgresql'
      ? this.#moveOnPostgresql(writes, again)
      : this.#moveOnSqlite(writes, again))
    const letters = again ? await this.#lettersAmong(writes) : moved
    return new Set(letters.map(({ id }) => id))
  }

  async #lettersAmong(writes: readonly DeadLetterWrite[]): Promise<{ id: string }[]> {
    const among = sqlAmongIds(this.#dialect, 'id')
    return this.#store.run<{ id: string }>(`select id from outbox_dead_letters where ${among}`, [
      idRows(writes.map(({ id }) => id)),
    ])
  }

  /** In one statement: between two the lease could pass on, and the new owner publish what then becomes a letter. */
  async #moveOnPostgresql(writes: readonly DeadLetterWrite[], again: boolean): Promise<{ id: string }[]> {
    const rows = await withHistory(this.#dialect, writes, (sql, params) => this.#store.run(sql, params))
    const still = this.#still(again)
    return this.#store.run<{ id: string }>(
      `with gone as (
        delete from domain_events as e where ${sqlAmong('postgresql', 'e.id', this.#fenced)} and e.status = 'pending'${still} returning *
      ), known as (delete from outbox_failures where ${sqlAmong('postgresql', 'event_id', 'select id from gone')})
      ${this.#insertFrom('gone as e')} returning id`,
      Array.from({ length: again ? 3 : 2 }, () => rows),
    )
  }

  async #moveOnSqlite(writes: readonly DeadLetterWrite[], again: boolean): Promise<{ id: string }[]> {
    return this.#store.transaction(async (em) => {
      await runSql(em, writeLock)
      const rows = await withHistory(this.#dialect, writes, (sql, params) => runSql(em, sql, params))
      const fence = `${sqlAmong('sqlite', 'e.id', this.#fenced)} and e.status = 'pending'${this.#still(again)}`
      const moved = await runSql<{ id: string }>(
        em,
        `${this.#insertFrom('domain_events as e')} where ${fence} returning id`,
        Array.from({ length: again ? 3 : 2 }, () => rows),
      )
      for (const [table, column] of [
        ['domain_events', 'id'],
        ['outbox_failures', 'event_id'],
      ] as const) {
        await runSql(em, `delete from ${table} where ${sqlAmongIds('sqlite', column)}`, [idRows(moved.map(({ id }) => id))])
      }
      return moved
    })
  }

  get #fenced(): string {
    return `select s.id from ${sqlRows(this.#dialect, 's', { id: 'uuid', bucket: 'int', epoch: 'bigint' })}
      join outbox_leases l on l.bucket = s.bucket and l.epoch = s.epoch`
  }

  /**
   * A letter that was redriven begins anew: without attempts, and due since the moment of that. Whether that was before it was read or
   * since cannot be told, so it is tried once more.
   */
  #still(again: boolean): string {
    if (!again) return ''
    const read = `select s.attempts - 1 from ${sqlRows(this.#dialect, 's', { id: 'uuid', attempts: 'int' })} where s.id = e.id`
    return ` and e.attempts = (${read}) and (e.attempts > 0 or e.available_at is distinct from e.updated_at)`
  }

  #insertFrom(events: string): string {
    const dialect = this.#dialect
    const rows = sqlRows(dialect, 's', {
      id: 'uuid',
      attempts: 'int',
      reason: 'text',
      error: 'text',
      blocksKey: 'boolean',
      history: 'text',
    })
    const history = dialect === 'postgresql' ? 's.history::json' : 's.history'
    return `insert into outbox_dead_letters (id, event_type, aggregate_type, aggregate_id, payload, headers, sequence, ordering_key,
        bucket, schema_version, created_at, attempts, reason, error, history, blocks_key, dead_at)
      select e.id, e.event_type, e.aggregate_type, e.aggregate_id, e.payload, e.headers, e.sequence, e.ordering_key, e.bucket,
        e.schema_version, e.created_at, s.attempts, s.reason, s.error, ${history}, s."blocksKey", ${sqlNow(dialect)}
      from ${rows} join ${events} on e.id = s.id`
  }

  /** Reads the keys that dead letters hold. Relies on outbox_dead_letters_blocking_index. */
  async blockedKeys(): Promise<BlockedKey[]> {
    const rows = await this.#store.run<{ ordering_key: string; bucket: number }>(
      'select distinct ordering_key, bucket from outbox_dead_letters where blocks_key',
    )
    return rows.map((row) => ({ orderingKey: row.ordering_key, bucket: row.bucket }))
  }

  /**
   * Marks the events that a crashed relay had in hand, so that they are tried apart from others. When it was a single one, the crash
   * is counted as its failed attempt. Relies on domain_events_pending_index: they are looked for in the relay's buckets alone.
   */
  async blameCrash(em: EntityManager, relay: string, sequences: readonly bigint[]): Promise<void> {
    const dialect = this.#dialect
    const first = sequences[0]
    const last = sequences.at(-1)
    if (first === undefined || last === undefined) return
    const alone = sequences.length === 1
    const error = crashText(relay, sequences.length)
    const rows = JSON.stringify(sequences.map((sequence) => ({ sequence: String(sequence) })))
    const span = "e.status = 'pending' and e.bucket = l.bucket and e.sequence between ? and ?"
    // Offset 0 keeps the planner from reading the whole table for a hash join.
    const events =
      dialect === 'postgresql'
        ? `cross join lateral (select e.id, e.sequence from domain_events e where ${span} offset 0) as e`
        : `cross join domain_events as e on ${span}`
    const inHand = `select e.id from outbox_leases l ${events} where l.owner = ?
      and e.sequence in (select s.sequence from ${sqlRows(dialect, 's', { sequence: 'bigint' })})`
    const among = sqlAmong(dialect, 'id', inHand)
    const blamed = await runSql<{ id: string; attempts: number }>(
      em,
      `update domain_events set last_error = ?, attempts = attempts + ? where status = 'pending' and ${among} returning id, attempts`,
      [error, alone ? 1 : 0, String(first), String(last), relay, rows],
    )
    if (!alone) return
    for (const { id, attempts } of blamed) {
      await runSql(
        em,
        `insert into outbox_failures (event_id, attempt, failed_at, error) values (?, ?, ${sqlNow(dialect)}, ?) on conflict do nothing`,
        [id, attempts, error],
      )
    }
  }

  /** How often each of these events was alone in hand when a relay crashed. */
  async crashesOf(id: string): Promise<number> {
    const [row] = await this.#store.run<{ crashes: number | string }>(
      `select count(*) as crashes from outbox_failures where event_id = ? and error like '${crashMark}%'`,
      [id],
    )
    return Number(row?.crashes ?? 0)
  }
}

type Run = <Row extends object>(sql: string, params: readonly unknown[]) => Promise<Row[]>

/** The writes as the rows of a statement, each with all of its failed attempts, this one included. */
async function withHistory(dialect: Dialect, writes: readonly DeadLetterWrite[], run: Run): Promise<string> {
  const failures = await run<{ event_id: string; attempt: number; failed_ms: number; error: string }>(
    `select event_id, attempt, ${sqlEpochMs(dialect, 'failed_at')} as failed_ms, error from outbox_failures
    where ${sqlAmongIds(dialect, 'event_id')} order by attempt`,
    [idRows(writes.map(({ id }) => id))],
  )
  const historyOf = ({ id, attempts, error }: DeadLetterWrite): FailedAttempt[] => {
    const earlier = failures
      .filter(({ event_id }) => event_id === id)
      .map(({ attempt, failed_ms, error }) => ({ attempt, failedAt: new Date(failed_ms), error }))
    if (earlier.some(({ attempt }) => attempt >= attempts)) return earlier
    return [...earlier, { attempt: attempts, failedAt: new Date(), error }]
  }
  return JSON.stringify(writes.map((write) => ({ ...write, history: JSON.stringify(historyOf(write)) })))
}
