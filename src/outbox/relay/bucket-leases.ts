import { DataAccessError } from '../../errors.ts'
import type { Clock } from '../../kernel/clock.ts'
import { bucketCount } from '../event/ordering-key.ts'
import type { DeadRelay, LeasedBucket, LeaseStore, NoteCrash, RelayIdentity } from '../store/lease-store.ts'
import type { RelayRates } from '../store/relay-rates.ts'

/** What {@link BucketLeases} works with. */
export interface BucketLeasesParts {
  readonly store: LeaseStore
  readonly clock: Clock
  readonly relay: RelayIdentity
  readonly leaseMs: number
  readonly publishTimeoutMs: number
  /** What a sign of life tells beside. */
  readonly rates?: () => RelayRates
  /** Writes down what a relay that died had in hand, before any of its buckets is taken. */
  readonly noteCrash: NoteCrash
  readonly onDead: (dead: DeadRelay) => void
  readonly onLost: (buckets: readonly number[]) => void
}

/** A bucket as its holder knows it. */
interface Lease {
  readonly epoch: number
  /** Nobody else takes it before this moment of our monotonic clock, which was read before we last registered. */
  readonly deadline: number
}

/**
 * The buckets that a relay may publish from. It takes its fair share, renews it, and hands the surplus over once nothing of it
 * is in hand. What it believes to hold is never more than what the database would confirm.
 */
export class BucketLeases {
  readonly #parts: BucketLeasesParts
  readonly #leases = new Map<number, Lease>()
  readonly #leaving = new Set<number>()
  #inHand: ReadonlySet<number> = new Set()
  #renewedAt = Number.NEGATIVE_INFINITY
  /** When the database last answered a look at the others. */
  #lookedAt = Number.NEGATIVE_INFINITY
  #judgesFrom = Number.NEGATIVE_INFINITY

  constructor(parts: BucketLeasesParts) {
    this.#parts = parts
  }

  /** How often {@link keep} must be called, in ms. */
  get intervalMs(): number {
    return Math.min(this.#parts.leaseMs / 5, 1000)
  }

  /** The buckets to fetch from: ours, and not on their way to another relay. */
  get buckets(): number[] {
    return [...this.#leases.keys()].filter((bucket) => !this.#leaving.has(bucket)).sort((one, other) => one - other)
  }

  /** The epoch that fences writes to a bucket's events; `undefined` when it is not ours. */
  epochOf(bucket: number): number | undefined {
    return this.#leases.get(bucket)?.epoch
  }

  /** Tells whether a publish that begins now would end while the bucket is still ours. */
  safe(bucket: number): boolean {
    const lease = this.#leases.get(bucket)
    return lease !== undefined && lease.deadline - this.#parts.clock.now() >= this.#parts.publishTimeoutMs
  }

  /** Declares whose events are in hand from now on: those buckets are not handed over meanwhile. */
  hold(buckets: Iterable<number>): void {
    this.#inHand = new Set(buckets)
  }

  /**
   * Registers the relay and takes what is free of its share.
   *
   * @throws DataAccessError `RELAY_PUBLISHER_MISMATCH` when a relay with another publisher lives.
   */
  async join(): Promise<void> {
    const { store, relay, leaseMs, rates } = this.#parts
    await store.heartbeat(relay, leaseMs, rates?.())
    const { live } = await store.look()
    const other = live.find(({ publisher }) => publisher !== relay.publisher)
    // Of two that start at once the older one stays.
    const older = live.slice(
      0,
      live.findIndex(({ id }) => id === relay.id),
    )
    if (other !== undefined && older.includes(other)) {
      await store.leave(relay.id)
      throw new DataAccessError(
        'RELAY_PUBLISHER_MISMATCH',
        `Relay "${other.name}" publishes this outbox to publisher "${other.publisher}", and this one would publish to "${relay.publisher}": each event would reach only one of them. Stop it first (after a crash its registration ends within ${leaseMs} ms), or give all relays one publisher that publishes to both`,
        { context: { running: other.publisher, refused: relay.publisher } },
      )
    }
    await this.keep()
  }

  /** Gives a sign of life, renews, takes and hands over. */
  async keep(): Promise<void> {
    const { store, relay, clock, leaseMs, noteCrash, onDead } = this.#parts
    if (clock.now() - this.#renewedAt >= leaseMs / 3) await this.#renew()
    const { live, dead, free } = await store.look()
    this.#lookedAt = clock.now()
    if (dead > 0 && clock.now() >= this.#judgesFrom) {
      for (const found of await store.takeDead(relay.id, noteCrash)) onDead(found)
    }
    await this.#balance(Math.ceil(bucketCount / Math.max(1, live.length)), free + dead)
  }

  /** Gives everything back. */
  async leave(): Promise<void> {
    await this.#parts.store.leave(this.#parts.relay.id)
    this.#leases.clear()
    this.#leaving.clear()
    this.#renewedAt = Number.NEGATIVE_INFINITY
    this.#lookedAt = Number.NEGATIVE_INFINITY
  }

  async #renew(): Promise<void> {
    const { store, relay, clock, leaseMs, rates } = this.#parts
    const before = clock.now()
    await store.heartbeat(relay, leaseMs, rates?.())
    this.#graceAfter(clock.now() - this.#lookedAt)
    if (this.#leases.size > 0) this.#renewed(await store.renew(relay.id, leaseMs), before)
    this.#renewedAt = before
  }

  /**
   * Who was away cannot tell whether the others were too: they get one lease to come back. A registration is renewed when a
   * third of it is over, or up to {@link intervalMs} later, so none ends by an absence of less than 0.46 of a lease.
   */
  #graceAfter(awayMs: number): void {
    const { clock, leaseMs } = this.#parts
    if (awayMs === Number.POSITIVE_INFINITY || awayMs <= leaseMs * 0.4) return
    // Where each look takes that long, a grace must still end.
    if (awayMs > leaseMs || clock.now() - this.#judgesFrom > leaseMs) this.#judgesFrom = clock.now() + leaseMs
  }

  async #balance(fair: number, free: number): Promise<void> {
    const { store, relay, leaseMs } = this.#parts
    if (this.#leases.size < fair && free > 0) {
      const claimed = await store.claim(relay.id, fair - this.#leases.size, leaseMs)
      // Not from now on: when our registration ends, others free whatever we hold.
      const deadline = this.#renewedAt + leaseMs
      for (const { bucket, epoch } of claimed) this.#leases.set(bucket, { epoch, deadline })
    }
    this.#leaving.clear()
    const surplus = [...this.#leases.keys()].sort((one, other) => one - other).slice(fair)
    for (const bucket of surplus) this.#leaving.add(bucket)
    const drained = surplus.filter((bucket) => !this.#inHand.has(bucket))
    if (drained.length === 0) return
    const released = drained.map((bucket) => ({ bucket, epoch: this.#leases.get(bucket)?.epoch ?? 0 }))
    for (const bucket of drained) {
      this.#leases.delete(bucket)
      this.#leaving.delete(bucket)
    }
    await store.release(relay.id, released)
  }

  #renewed(renewed: readonly LeasedBucket[], before: number): void {
    const deadline = before + this.#parts.leaseMs
    const confirmed = new Map(renewed.map(({ bucket, epoch }) => [bucket, epoch]))
    const lost: number[] = []
    for (const [bucket, { epoch }] of this.#leases) {
      if (confirmed.get(bucket) === epoch) {
        this.#leases.set(bucket, { epoch, deadline })
      } else {
        this.#leases.delete(bucket)
        this.#leaving.delete(bucket)
        lost.push(bucket)
      }
    }
    if (lost.length > 0) this.#parts.onLost(lost)
  }
}
