import type { EntityManager } from '@mikro-orm/core'
import { type Dialect, runSql } from '../../database/sql.ts'
import { type InFlightNote, readInFlightNote } from './in-flight-note.ts'
import type { OutboxStore } from './outbox-store.ts'
import { type SignOfLife, writeSign } from './sign-of-life.ts'
import { sqlAmong, sqlFromNow, sqlNow, sqlRows, sqlUntil } from './store-sql.ts'

/** A bucket in a relay's hand, with the epoch that fences its writes. */
export interface LeasedBucket {
  readonly bucket: number
  readonly epoch: number
}

/** A relay as it shows itself to the others. */
export interface RelayIdentity {
  readonly id: string
  readonly name: string
  readonly publisher: string
}

/** A relay as a look shows it. */
export interface SeenRelay extends RelayIdentity {
  /** How long its last sign of life is still good for, in ms by the database's clock; negative once it is dead. */
  readonly leftMs: number
}

/** What one look at the tables shows. */
export interface LeaseView {
  /** The relays that live, the oldest first. */
  readonly live: readonly SeenRelay[]
  /** Those that gave no sign of life for the length of their lease. */
  readonly dead: readonly SeenRelay[]
  /** How many buckets nobody holds. */
  readonly free: number
}

/** A relay that was found dead, with what it had in hand. */
export interface DeadRelay {
  readonly id: string
  /** By sequence number. */
  readonly inFlight: readonly bigint[]
}

/** Writes down, in the transaction that it is given, what a relay that died had in hand. */
export type NoteCrash = (em: EntityManager, dead: DeadRelay) => Promise<void>

/** The statements on leases and relays. Time is the database's, so that clocks of machines may differ. */
export class LeaseStore {
  readonly #store: OutboxStore
  readonly #dialect: Dialect

  constructor(store: OutboxStore) {
    this.#store = store
    this.#dialect = store.dialect
  }

  /** Registers a relay, or renews its sign of life. */
  async heartbeat(relay: RelayIdentity, leaseMs: number, sign?: SignOfLife): Promise<void> {
    const [until, rates] = [sqlFromNow(this.#dialect, '?'), sign === undefined ? null : writeSign(sign)]
    const renewed = await this.#store.run(`update outbox_relays set expires_at = ${until}, rates = ? where id = ? returning id`, [
      leaseMs,
      rates,
      relay.id,
    ])
    if (renewed.length > 0) return
    await this.#store.transaction(async (em) => {
      await runSql(
        em,
        `insert into outbox_relays (id, name, publisher, started_at, expires_at, rates)
        values (?, ?, ?, ${sqlNow(this.#dialect)}, ${until}, ?)`,
        [relay.id, relay.name, relay.publisher, leaseMs, rates],
      )
      await runSql(em, 'insert into outbox_progress (relay) values (?)', [relay.id])
    })
  }

  /** Looks at all relays and at the buckets that nobody holds. Only reads, so that a quiet outbox stays unwritten. */
  async look(): Promise<LeaseView> {
    const rows = await this.#store.run<RelayIdentity & { left_ms: number; free: number | string }>(
      `select id, name, publisher, ${sqlUntil(this.#dialect, 'expires_at')} as left_ms,
        (select count(*) from outbox_leases l where ${this.#unheld}) as free
      from outbox_relays order by started_at, id`,
    )
    const seen = rows.map(({ id, name, publisher, left_ms }) => ({ id, name, publisher, leftMs: left_ms }))
    const dead = seen.filter(({ leftMs }) => leftMs < 0)
    return { live: seen.filter((relay) => !dead.includes(relay)), dead, free: Number(rows[0]?.free ?? 0) }
  }

  /**
   * Removes the other relays that gave no sign of life for the length of their lease, notes what they had in hand, and frees their
   * buckets, all or nothing: whoever gets such a bucket finds the notes. Changes nothing while the asking relay has itself not
   * been heard of for so long, since then the database was away and not the others.
   */
  async takeDead(asking: string, noteCrash: NoteCrash): Promise<DeadRelay[]> {
    const now = sqlNow(this.#dialect)
    return this.#store.transaction(async (em) => {
      const gone = await runSql<{ id: string }>(
        em,
        `delete from outbox_relays where expires_at < ${now} and id <> ?
          and exists (select 1 from outbox_relays me where me.id = ? and me.expires_at >= ${now}) returning id`,
        [asking, asking],
      )
      const found: DeadRelay[] = []
      for (const { id } of gone) {
        const [row] = await runSql<{ note: string | null }>(em, `${dropProgress} returning cast(in_flight as text) as note`, [id])
        const dead = { id, inFlight: row?.note == null ? [] : readInFlightNote(JSON.parse(row.note) as InFlightNote) }
        await noteCrash(em, dead)
        await runSql(em, freeBuckets, [id])
        found.push(dead)
      }
      return found
    })
  }

  /** Renews all leases of a relay, and resolves to those that it still has. */
  async renew(owner: string, leaseMs: number): Promise<LeasedBucket[]> {
    return this.#leased(
      `update outbox_leases set leased_until = ${sqlFromNow(this.#dialect, '?')} where owner = ? returning bucket, epoch`,
      [leaseMs, owner],
    )
  }

  /** Takes up to `count` buckets that nobody holds, each with a new epoch. Those of a dead relay are free once {@link takeDead} found it. */
  async claim(owner: string, count: number, leaseMs: number): Promise<LeasedBucket[]> {
    const skipLocked = this.#dialect === 'postgresql' ? ' for update of l skip locked' : ''
    const free = `select l.bucket from outbox_leases l where ${this.#unheld} order by l.bucket limit ?${skipLocked}`
    return this.#leased(
      `update outbox_leases set owner = ?, epoch = epoch + 1, leased_until = ${sqlFromNow(this.#dialect, '?')}
      where ${sqlAmong(this.#dialect, 'bucket', free)} returning bucket, epoch`,
      [owner, leaseMs, count],
    )
  }

  /**
   * Gives buckets back, for others to take at once. Idempotent, and fenced: carried out late, by a connection on which nobody waits
   * any more, it takes away nothing that was claimed anew.
   */
  async release(owner: string, buckets: readonly LeasedBucket[]): Promise<void> {
    const rows = sqlRows(this.#dialect, 's', { bucket: 'int', epoch: 'bigint' })
    await this.#store.run(
      `update outbox_leases set owner = null, leased_until = null where owner = ?
        and ${sqlAmong(this.#dialect, 'bucket', `select s.bucket from ${rows} where s.epoch = outbox_leases.epoch`)}`,
      [owner, JSON.stringify(buckets)],
    )
  }

  /** Gives everything back and forgets the relay. */
  async leave(owner: string): Promise<void> {
    await this.#store.run(freeBuckets, [owner])
    // Its progress first: without the registration nobody would remove that.
    await this.#store.run(dropProgress, [owner])
    await this.#store.run('delete from outbox_relays where id = ?', [owner])
  }

  /** Without an owner, or with one that is registered no more: its time is over, and what it had in hand is noted. */
  get #unheld(): string {
    return `l.owner is null or (l.leased_until < ${sqlNow(this.#dialect)} and not exists (select 1 from outbox_relays r where r.id = l.owner))`
  }

  async #leased(sql: string, params: readonly unknown[]): Promise<LeasedBucket[]> {
    const rows = await this.#store.run<{ bucket: number; epoch: number | string }>(sql, params)
    return rows.map(({ bucket, epoch }) => ({ bucket, epoch: Number(epoch) }))
  }
}

const freeBuckets = 'update outbox_leases set owner = null, leased_until = null where owner = ?'
const dropProgress = 'delete from outbox_progress where relay = ?'
