import type { Dialect } from '../../database/sql.ts'
import { toInFlightNote } from './in-flight-note.ts'
import type { OutboxStore } from './outbox-store.ts'
import type { RelayMarks, RelayNote } from './relay-marks.ts'
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
  readonly #marks: RelayMarks | undefined

  /** @param marks of the relay whose marks are to be counted. */
  constructor(store: OutboxStore, marks?: RelayMarks) {
    this.#store = store
    this.#dialect = store.dialect
    this.#marks = marks
  }

  /**
   * Notes which events a relay is about to publish, by their sequence numbers, for whoever finds it crashed. Resolves to what the relay's
   * row tells: when the redrives have become more, or the marks fewer, others may come before these events.
   */
  async noteInFlight(relay: string, sequences: readonly bigint[]): Promise<RelayNote> {
    const marks = this.#marks
    // A crash of the database forgets the note, and it is not the database's crash that the note is for.
    const relaxed = this.#dialect === 'postgresql' ? ` and ${relaxedCommit}` : ''
    const note = this.#dialect === 'postgresql' ? '?::json' : '?'
    const next = marks?.generationOver ? ', generation = generation + 1' : ''
    const [row] = await this.#store.run<{ redrives: number; marks: number | string; generation: number }>(
      `update outbox_progress set in_flight = ${note}${next} where relay = ? and generation >= ?${relaxed} returning redrives, marks, generation`,
      [JSON.stringify(toInFlightNote(sequences)), relay, marks?.generation ?? 0],
    )
    if (row === undefined) return marks?.missed() ? this.noteInFlight(relay, sequences) : { redrives: 0, marks: undefined }
    marks?.noted(row.generation)
    return { redrives: row.redrives, marks: Number(row.marks) }
  }

  /** Reads the redrives since a relay registered. */
  async redrivesSince(relay: string): Promise<number> {
    const [row] = await this.#store.run<{ redrives: number }>(
      'select redrives from outbox_progress where relay = ? and generation >= ?',
      [relay, this.#marks?.generation ?? 0],
    )
    if (row === undefined && this.#marks?.missed()) return this.redrivesSince(relay)
    return row?.redrives ?? 0
  }

  /**
   * Lets no mark pass that was given up: behind a network that was away PostgreSQL may get it when the relay publishes its events again, and
   * would keep those from being repeated to their end. This statement may come late too, and raises nothing then. SQLite carries one out at
   * once, or never.
   */
  async passOverMarks(relay: string): Promise<void> {
    const marks = this.#marks
    if (marks?.beyond === undefined || this.#dialect === 'sqlite') return
    const [row] = await this.#store.run<{ marks: string }>(
      'update outbox_progress set marks = greatest(marks, ?) where relay = ? and generation >= ? returning marks::text as marks',
      [marks.beyond, relay, marks.generation],
    )
    if (row === undefined && marks.missed()) await this.passOverMarks(relay)
    else marks.passedOver(Number(row?.marks ?? 0))
  }

  /**
   * Marks or deletes published events in one statement, and resolves to those that it could not: of these the lease was lost.
   *
   * On PostgreSQL it does not wait for the disk: a mark that a crash undoes is a repetition. One that comes behind such marks would
   * make it a repetition behind newer events, so the statement counts itself in the relay's row, and changes nothing where those
   * before it are missing there: then it resolves to `undone`. SQLite keeps what it has committed while the machine runs, and the
   * relay does not outlive that: there nothing is counted.
   *
   * @param known how many marks are written before this one; the same with each try, for after an error it may be written already.
   */
  async markPublished(
    events: readonly HeldEvent[],
    mode: MarkMode,
    known = this.#marks?.known ?? 0,
  ): Promise<readonly HeldEvent[] | 'undone'> {
    const marked = await (this.#dialect === 'postgresql'
      ? this.#markOnPostgresql(events, mode, known)
      : this.#markOnSqlite(events, mode))
    if (marked === 'undone') return marked
    return marked === 'all' ? [] : events.filter(({ id }) => !marked.has(id))
  }

  /**
   * The ids travel by their buckets, and come back only where some could not be marked: a batch has hundreds. The relay's row is
   * read first and written last, for a note of the next batch waits for whoever has written it.
   */
  async #markOnPostgresql(
    events: readonly HeldEvent[],
    mode: MarkMode,
    known: number,
  ): Promise<ReadonlySet<string> | 'all' | 'undone'> {
    const { relay = null, generation = 0 } = this.#marks ?? {}
    const written = '(select marks from outbox_progress where relay = ? and generation >= ?)'
    // A relay without a row was taken for dead, and its marks are fenced by their epochs alone; but it may be its generation that is missing.
    const rowless = generation === 0
    const among = `select unnest(s.ids) from json_to_recordset(?::json) as s(bucket int, epoch bigint, ids uuid[])
      join outbox_leases l on l.bucket = s.bucket and l.epoch = s.epoch
      where ${relaxedCommit} and coalesce(${written} between ? and ?, ${rowless})`
    const [row] = await this.#store.run<{ ids: readonly string[] | null; marks: string | null }>(
      `with marked as (${this.#change(mode)} where status = 'pending' and ${sqlAmong('postgresql', 'id', among)} returning id),
      counted as (
        update outbox_progress set marks = ? where relay = ? and generation >= ? and marks between ? and ? and (select count(*) from marked) >= 0
      )
      select case when count(*) < ? then coalesce(json_agg(id), '[]') end as ids, ${written}::text as marks from marked`,
      [
        ...[JSON.stringify(byBucket(events)), relay, generation, known, known + 1],
        ...[known + 1, relay, generation, known, known + 1],
        ...[events.length, relay, generation],
      ],
    )
    if (row?.marks == null && !rowless) {
      this.#marks?.missed()
      return 'undone'
    }
    if (row?.marks != null && this.#marks !== undefined) {
      const before = Number(row.marks)
      if (before !== known && before !== known + 1) {
        this.#marks.refused(before, known)
        return 'undone'
      }
      this.#marks.learn(known + 1, known)
    }
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
