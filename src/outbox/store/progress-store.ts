import type { Dialect } from '../../database/sql.ts'
import { toInFlightNote } from './in-flight-note.ts'
import type { OutboxStore } from './outbox-store.ts'
import { keyIndex, relaxedCommit, sqlAmong, sqlBy, sqlNow, sqlRows } from './store-sql.ts'

/** An event in the hand of a relay: a write to it counts only while the bucket's epoch is still this one. */
export interface HeldEvent {
  readonly id: string
  readonly bucket: number
  readonly epoch: number
}

/** What happens to published events: `keep` marks them, `delete` removes them. */
export type MarkMode = 'keep' | 'delete'

/** The statements with which a relay writes how far it is: what it has in hand, and what is published. */
export class ProgressStore {
  readonly #store: OutboxStore
  readonly #dialect: Dialect

  constructor(store: OutboxStore) {
    this.#store = store
    this.#dialect = store.dialect
  }

  /**
   * Notes which events a relay is about to publish, by their sequence numbers, for whoever finds it crashed. Resolves to the redrives since the relay
   * registered, 0 for one that is not registered: when they have become more, others may come before these events.
   */
  async noteInFlight(relay: string, sequences: readonly bigint[]): Promise<number> {
    // A crash of the database forgets the note, and it is not the database's crash that the note is for.
    const relaxed = this.#dialect === 'postgresql' ? ` and ${relaxedCommit}` : ''
    const note = this.#dialect === 'postgresql' ? '?::json' : '?'
    const [row] = await this.#store.run<{ redrives: number }>(
      `update outbox_relays set in_flight = ${note} where id = ?${relaxed} returning redrives`,
      [JSON.stringify(toInFlightNote(sequences)), relay],
    )
    return row?.redrives ?? 0
  }

  /** Reads the redrives since a relay registered. */
  async redrivesSince(relay: string): Promise<number> {
    const [row] = await this.#store.run<{ redrives: number }>('select redrives from outbox_relays where id = ?', [relay])
    return row?.redrives ?? 0
  }

  /**
   * Marks or deletes published events in one statement, and resolves to those that it could not: of these the lease was lost.
   * On PostgreSQL it does not wait for the disk: a mark that a crash undoes is only a repetition.
   */
  async markPublished(events: readonly HeldEvent[], mode: MarkMode): Promise<readonly HeldEvent[]> {
    const marked = await (this.#dialect === 'postgresql'
      ? this.#markOnPostgresql(events, mode)
      : this.#markOnSqlite(events, mode))
    return marked === 'all' ? [] : events.filter(({ id }) => !marked.has(id))
  }

  /** The ids travel by their buckets, and come back only where some could not be marked: a batch has hundreds. */
  async #markOnPostgresql(events: readonly HeldEvent[], mode: MarkMode): Promise<ReadonlySet<string> | 'all'> {
    const among = `select unnest(s.ids) from json_to_recordset(?::json) as s(bucket int, epoch bigint, ids uuid[])
      join outbox_leases l on l.bucket = s.bucket and l.epoch = s.epoch where ${relaxedCommit}`
    const [row] = await this.#store.run<{ ids: readonly string[] | null }>(
      `with marked as (${this.#change(mode)} where status = 'pending' and ${sqlAmong('postgresql', 'id', among)} returning id)
      select case when count(*) < ? then coalesce(json_agg(id), '[]') end as ids from marked`,
      [JSON.stringify(byBucket(events)), events.length],
    )
    return row?.ids == null ? 'all' : new Set(row.ids)
  }

  async #markOnSqlite(events: readonly HeldEvent[], mode: MarkMode): Promise<ReadonlySet<string>> {
    const among = `select s.id from ${sqlRows('sqlite', 's', { id: 'uuid', bucket: 'int', epoch: 'bigint' })}
      join outbox_leases l on l.bucket = s.bucket and l.epoch = s.epoch`
    const rows = await this.#store.run<{ id: string }>(
      `${this.#change(mode)} where status = 'pending' and ${sqlAmong('sqlite', 'id', among)} returning id`,
      [JSON.stringify(events)],
    )
    return new Set(rows.map(({ id }) => id))
  }

  #change(mode: MarkMode): string {
    const by = sqlBy(this.#dialect, keyIndex)
    if (mode === 'delete') return `delete from domain_events${by}`
    const now = sqlNow(this.#dialect)
    return `update domain_events${by} set status = 'published', published_at = ${now}, updated_at = ${now}, last_error = null`
  }
}

/** The fence: events count only while their bucket still has the epoch under which they were fetched. */
function byBucket(events: readonly HeldEvent[]): { bucket: number; epoch: number; ids: string[] }[] {
  const groups = Map.groupBy(events, ({ bucket, epoch }) => `${bucket} ${epoch}`)
  return [...groups.values()].map((held) => {
    const { bucket, epoch } = held[0] as HeldEvent
    return { bucket, epoch, ids: held.map(({ id }) => id) }
  })
}
