import type { EntityManager } from '@mikro-orm/core'
import { runSql } from '../database/sql.ts'
import { DataAccessError } from '../errors.ts'
import { checkOptions, list, text, wholeFrom } from '../kernel/options.ts'
import type { DeadLetterReason } from './publishing/retry-policy.ts'
import type { OutboxStore } from './store/outbox-store.ts'
import type { FailedAttempt } from './store/settlement-store.ts'
import { sqlAmong, sqlEpochMs, sqlNow, sqlRows, writeLock } from './store/store-sql.ts'
import type { EventRow } from './store/stored-event.ts'

/** An event that left the outbox unpublished. */
export interface DeadLetter {
  readonly id: string
  readonly type: string
  readonly aggregateType: string
  readonly aggregateId: string
  readonly payloadJson: string
  readonly headers: Readonly<Record<string, string>>
  readonly orderingKey: string | null
  readonly sequence: bigint
  readonly createdAt: Date
  readonly deadAt: Date
  readonly attempts: number
  readonly reason: DeadLetterReason
  /** The last error, with its causes. */
  readonly error: string
  /** Every failed attempt, the first first. */
  readonly history: readonly FailedAttempt[]
  /** Its key waits until it is redriven or discarded. */
  readonly blocksKey: boolean
  /** What `JSON.stringify(letter)` writes: `sequence` as decimal digits, since a JSON number would lose some. */
  toJSON(): object
}

/** Which dead letters are meant: all conditions that are given must hold. */
export interface DeadLetterFilter {
  readonly ids?: readonly string[]
  readonly type?: string
  readonly aggregateType?: string
  readonly aggregateId?: string
  readonly orderingKey?: string
}

interface LetterRow extends Omit<EventRow, 'bucket' | 'schema_version' | 'wait_ms' | 'suspect'> {
  dead_ms: number
  reason: DeadLetterReason
  error: string
  history: string
  blocks_key: boolean | number
}

const eventColumns =
  'id, event_type, aggregate_type, aggregate_id, payload, headers, ordering_key, bucket, schema_version, created_at'

/** How long a redrive may wait for the relays, and they for it, in ms: together less than a relay waits for an answer. */
const lockMs = 2000

/** The dead letters of an outbox: `data.outbox.deadLetters`. */
export class DeadLetters {
  readonly #store: OutboxStore
  readonly #redriven: () => void

  /** @param redriven called when letters went back or made way for their key. */
  /** @internal */
  constructor(store: OutboxStore, redriven: () => void) {
    this.#store = store
    this.#redriven = redriven
  }

  /** Lists dead letters, the newest first; at most `limit`, 100 by default. Without a filter, of all. */
  async list(filter: DeadLetterFilter = {}, options: { readonly limit?: number | undefined } = {}): Promise<DeadLetter[]> {
    checkOptions({ door: 'deadLetters.list' }, options, { limit: wholeFrom(1, 10_000) })
    const { limit = 100 } = options
    const { sql, params } = this.#where(filter, 'list')
    const { dialect } = this.#store
    const rows = await this.#store.run<LetterRow>(
      `select id, event_type, aggregate_type, aggregate_id, cast(payload as text) as payload, cast(headers as text) as headers,
        ordering_key, cast(sequence as text) as sequence, ${sqlEpochMs(dialect, 'created_at')} as created_ms,
        ${sqlEpochMs(dialect, 'dead_at')} as dead_ms, attempts, reason, error, cast(history as text) as history, blocks_key
      from outbox_dead_letters where ${sql} order by dead_at desc, sequence desc limit ?`,
      [...params, limit],
    )
    return rows.map(toLetter)
  }

  /**
   * Puts dead letters back among the pending events, at the place in their key that they had, with no attempt spent; resolves
   * to how many. Later events of the key that were published meanwhile, or are in the hand of a relay, stay so.
   *
   * @throws DataAccessError `OPTION_INVALID` for an empty filter: it would mean all.
   */
  async redrive(filter: DeadLetterFilter): Promise<number> {
    const { sql, params } = this.#where(filter, 'redrive')
    const now = sqlNow(this.#store.dialect)
    return this.#remove(
      sql,
      params,
      // Due from now on, and not since it was recorded.
      `insert into domain_events (${eventColumns}, updated_at, available_at, sequence)
      select ${eventColumns}, ${now}, ${now}, sequence from outbox_dead_letters`,
    )
  }

  /**
   * Deletes dead letters for good; resolves to how many. A key that one of them held goes on.
   *
   * @throws DataAccessError `OPTION_INVALID` for an empty filter: it would mean all.
   */
  async discard(filter: DeadLetterFilter): Promise<number> {
    const { sql, params } = this.#where(filter, 'discard')
    return this.#remove(sql, params, undefined)
  }

  async #remove(sql: string, params: readonly unknown[], before: string | undefined): Promise<number> {
    const { dialect } = this.#store
    const removed = await this.#store.transaction(async (em) => {
      await runSql(em, writeLock)
      const lock = dialect === 'postgresql' ? ' for update' : ''
      const chosen = await runSql<{ id: string }>(em, `select id from outbox_dead_letters where ${sql}${lock}`, params)
      if (chosen.length === 0) return 0
      const ids = JSON.stringify(chosen)
      const among = sqlAmong(dialect, 'id', `select s.id from ${sqlRows(dialect, 's', { id: 'uuid' })}`)
      if (before !== undefined) await runSql(em, `${before} where ${among} order by sequence`, [ids])
      await runSql(em, `delete from outbox_dead_letters where ${among}`, [ids])
      if (before !== undefined) await this.#tellRelays(em)
      return chosen.length
    })
    if (removed > 0) this.#redriven()
    return removed
  }

  /** Last, for the relays wait for it: they look for what came before the events that they know before they publish on. */
  async #tellRelays(em: EntityManager): Promise<void> {
    if (this.#store.dialect === 'postgresql') {
      // Behind this lock every relay waits: a process that stands still before its commit is cut off by the database.
      const limits = ['idle_in_transaction_session_timeout', 'lock_timeout'].map(
        (name) => `set_config('${name}', '${lockMs}', true)`,
      )
      await runSql(em, `select ${limits}`)
      // A relay that registers before this commits would neither see the letters nor be told of them.
      await runSql(em, 'lock table outbox_relays in share row exclusive mode')
    }
    await runSql(em, 'update outbox_relays set redrives = redrives + 1')
  }

  /** Refuses an empty filter, but for `list`. */
  #where(filter: DeadLetterFilter, verb: 'list' | 'redrive' | 'discard'): { sql: string; params: unknown[] } {
    // A condition that is misspelled, and ignored, would mean more letters than were named.
    const exact = { type: text, aggregateType: text, aggregateId: text, orderingKey: text }
    checkOptions({ door: `deadLetters.${verb}` }, filter, { ids: list, ...exact })
    const missing = Object.entries(filter).find(([, value]) => value === undefined)
    if (missing !== undefined && verb !== 'list') {
      const cure = 'which would mean every value; leave it out if that is what you want'
      throw new DataAccessError('OPTION_INVALID', `deadLetters.${verb}: ${missing[0]} is undefined, ${cure}`)
    }
    const conditions: string[] = ['1 = 1']
    const params: unknown[] = []
    const columns = {
      type: 'event_type',
      aggregateType: 'aggregate_type',
      aggregateId: 'aggregate_id',
      orderingKey: 'ordering_key',
    } as const
    for (const [name, column] of Object.entries(columns)) {
      const value = filter[name as keyof typeof columns]
      if (value === undefined) continue
      conditions.push(`${column} = ?`)
      params.push(value)
    }
    if (filter.ids !== undefined) {
      const { dialect } = this.#store
      conditions.push(sqlAmong(dialect, 'id', `select s.id from ${sqlRows(dialect, 's', { id: 'uuid' })}`))
      params.push(JSON.stringify(filter.ids.map((id) => ({ id }))))
    }
    if (verb !== 'list' && (conditions.length === 1 || filter.ids?.length === 0)) {
      throw new DataAccessError(
        'OPTION_INVALID',
        `deadLetters.${verb}: the filter is empty, which would mean every dead letter; name ids, type, aggregateType, aggregateId or orderingKey`,
      )
    }
    return { sql: conditions.join(' and '), params }
  }
}

function toLetter(row: LetterRow): DeadLetter {
  const letter: Omit<DeadLetter, 'toJSON'> = {
    id: row.id,
    type: row.event_type,
    aggregateType: row.aggregate_type,
    aggregateId: row.aggregate_id,
    payloadJson: row.payload,
    headers: JSON.parse(row.headers) as Record<string, string>,
    orderingKey: row.ordering_key,
    sequence: BigInt(row.sequence),
    createdAt: new Date(row.created_ms),
    deadAt: new Date(row.dead_ms),
    attempts: row.attempts,
    reason: row.reason,
    error: row.error,
    history: JSON.parse(row.history) as FailedAttempt[],
    blocksKey: Boolean(row.blocks_key),
  }
  const toJSON: DeadLetter['toJSON'] = () => ({ ...letter, sequence: String(letter.sequence) })
  return Object.defineProperty(letter, 'toJSON', { value: toJSON }) as DeadLetter
}
