import type { EntityManager } from '@mikro-orm/core'
import { runSql } from '../database/sql.ts'
import { isUuid } from '../database/uuid.ts'
import { DataAccessError } from '../errors.ts'
import { checkOptions, list, text, wholeFrom } from '../kernel/options.ts'
import type { DeadLetterReason } from './publishing/retry-policy.ts'
import type { OutboxStore } from './store/outbox-store.ts'
import type { FailedAttempt } from './store/settlement-store.ts'
import { idRows, sqlAmongIds, sqlEpochMs, sqlNow, writeLock } from './store/store-sql.ts'
import type { EventRow } from './store/stored-event.ts'

/** An event that left the outbox unpublished: as it was recorded, and what became of it. */
export interface DeadLetter {
  /** The event's id, a UUID of version 7. */
  readonly id: string
  /** The event's permanent name. */
  readonly type: string
  /** The name of the aggregate's entity, or the one in the event's definition. */
  readonly aggregateType: string
  /** The aggregate's id as text. */
  readonly aggregateId: string
  /** The payload as stored; no schema has looked at it. */
  readonly payloadJson: string
  /** Empty when none were recorded. */
  readonly headers: Readonly<Record<string, string>>
  /** The key within which it has its place; `null`: no order. */
  readonly orderingKey: string | null
  /** Its place in its key, which a redrive gives back to it. */
  readonly sequence: bigint
  /** When it was recorded, by the clock of the process that did. */
  readonly createdAt: Date
  /** When it became a dead letter, by the database's clock. */
  readonly deadAt: Date
  /** How many tries failed, the last one included. */
  readonly attempts: number
  /** Whether its tries were spent, or one failed for good. */
  readonly reason: DeadLetterReason
  /** The last error and its causes in words, at most 4000 characters; passwords in URLs are masked. */
  readonly error: string
  /** Every failed attempt since it was recorded, or redriven, the first first. */
  readonly history: readonly FailedAttempt[]
  /** Whether its key waits until it is redriven or discarded. */
  readonly blocksKey: boolean
  /** What `JSON.stringify(letter)` writes: `sequence` as decimal digits, since a JSON number would lose some. */
  toJSON(): object
}

/** Which dead letters are meant: all conditions that are given must hold, each exactly. */
export interface DeadLetterFilter {
  /** Ids of events, which are UUIDs: one of these. Of none, `[]`, nothing is listed, and the other verbs refuse it. */
  readonly ids?: readonly string[]
  /** The permanent name of the events. */
  readonly type?: string
  /** The name of the aggregate's entity, or the one in the events' definitions. */
  readonly aggregateType?: string
  /** The aggregate's id as text; of whatever aggregate type, unless that is given too. */
  readonly aggregateId?: string
  /** The key as it was recorded: by default `<aggregateType>:<aggregateId>`. */
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

  /**
   * Lists dead letters, the newest first; of more than `limit`, 1 … 10,000 and 100 by default, the newest. Without a filter, of all.
   *
   * @throws DataAccessError `OPTION_INVALID`; `ID_INVALID`; `MIGRATION_MISSING`; what the database throws.
   */
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
   * @throws DataAccessError `OPTION_INVALID`, also for an empty filter: it would mean all; `ID_INVALID`; `LOCK_NOT_AVAILABLE` when PostgreSQL does not let
   * it tell the relays within 2 s, and nothing was changed; `MIGRATION_MISSING`; what the database throws.
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
   * @throws DataAccessError `OPTION_INVALID`, also for an empty filter: it would mean all; `ID_INVALID`; `MIGRATION_MISSING`; what the database throws.
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
      const ids = idRows(chosen.map(({ id }) => id))
      const among = sqlAmongIds(dialect, 'id')
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
      await runSql(em, 'lock table outbox_progress in share row exclusive mode')
    }
    await runSql(em, 'update outbox_progress set redrives = redrives + 1')
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
      const strange = filter.ids.find((id) => !isUuid(id))
      if (strange !== undefined) {
        throw new DataAccessError(
          'ID_INVALID',
          `deadLetters.${verb}: "${String(strange).slice(0, 64)}" is no id of an event. Pass uuids in lower case`,
        )
      }
      const { dialect } = this.#store
      conditions.push(sqlAmongIds(dialect, 'id'))
      params.push(idRows(filter.ids))
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
    history: (JSON.parse(row.history) as FailedAttempt[]).map((each) => ({ ...each, failedAt: new Date(each.failedAt) })),
    blocksKey: Boolean(row.blocks_key),
  }
  const toJSON: DeadLetter['toJSON'] = () => ({ ...letter, sequence: String(letter.sequence) })
  return Object.defineProperty(letter, 'toJSON', { value: toJSON }) as DeadLetter
}
