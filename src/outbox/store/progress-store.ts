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
  readonly #held: string

  constructor(store: OutboxStore) {
    this.#store = store
    this.#dialect = store.dialect
    // The fence: of the events in hand those whose bucket still has the epoch under which they were fetched.
    this.#held = `select s.id from ${sqlRows(this.#dialect, 's', { id: 'uuid', bucket: 'int', epoch: 'bigint' })}
      join outbox_leases l on l.bucket = s.bucket and l.epoch = s.epoch`
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
   * Marks or deletes published events in one statement, and resolves to the ids that it could: of the others the lease was
   * lost. On PostgreSQL it does not wait for the disk: a mark that a crash undoes is only a repetition.
   */
  async markPublished(events: readonly HeldEvent[], mode: MarkMode): Promise<ReadonlySet<string>> {
    const relaxed = this.#dialect === 'postgresql' ? ` where ${relaxedCommit}` : ''
    const among = sqlAmong(this.#dialect, 'id', `${this.#held}${relaxed}`)
    const now = sqlNow(this.#dialect)
    const by = sqlBy(this.#dialect, keyIndex)
    const change =
      mode === 'delete'
        ? `delete from domain_events${by}`
        : `update domain_events${by} set status = 'published', published_at = ${now}, updated_at = ${now}, last_error = null`
    const rows = await this.#store.run<{ id: string }>(`${change} where status = 'pending' and ${among} returning id`, [
      JSON.stringify(events),
    ])
    return new Set(rows.map(({ id }) => id))
  }
}
