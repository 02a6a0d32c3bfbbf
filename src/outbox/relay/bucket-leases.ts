import { DataAccessError } from '../../errors.ts'
import { type Clock, longestSince, type Moment, momentOf } from '../../kernel/clock.ts'
import { bucketCount } from '../event/ordering-key.ts'
import type { DeadRelay, LeasedBucket, LeaseStore, LeaseView, NoteCrash, RelayIdentity } from '../store/lease-store.ts'
import type { RelayPause, SignOfLife } from '../store/sign-of-life.ts'
import { Grace } from './grace.ts'

/** What {@link BucketLeases} works with. */
export interface BucketLeasesParts {
  readonly store: LeaseStore
  readonly clock: Clock
  readonly relay: RelayIdentity
  readonly leaseMs: number
  readonly publishTimeoutMs: number
  /** What a sign of life tells beside. */
  readonly signOfLife?: () => SignOfLife
  /** Writes down what a relay that died had in hand, before any of its buckets is taken. */
  readonly noteCrash: NoteCrash
  readonly onDead: (dead: DeadRelay) => void
  /** The dead could not be taken over. It is tried again with each {@link BucketLeases.keep}. */
  readonly onNotTaken: (error: unknown) => void
  readonly onLost: (buckets: readonly number[]) => void
}

/** A bucket as its holder knows it. */
interface Lease {
  readonly epoch: number
  /** When we last registered, before the database was asked: for the length of a lease from here nobody else takes it. */
  readonly since: Moment
}

/**
 * The buckets that a relay may publish from. It takes its fair share, renews it, and hands the surplus over once nothing of it
 * is in hand. What it publishes from is never more than what the database would confirm, and what the database holds for it is
 * soon known here: nobody else may take that.
 */
export class BucketLeases {
  readonly #parts: BucketLeasesParts
  readonly #leases = new Map<number, Lease>()
  /** Those to hand over, once nothing of them is in hand. */
  readonly #leaving = new Set<number>()
  /** Those that the database was told to free. Until it has answered they may be another relay's: no publish begins. */
  readonly #releasing = new Set<number>()
  #inHand: ReadonlySet<number> = new Set()
  /** The database may hold buckets for us that we do not know: a claim was not answered, or a write was refused for another reason. */
  #doubts = 0
  /** Of these, how many a renewal has answered. */
  #answered = 0
  #renewedAt: Moment | undefined
  /** As the last sign of life told it. */
  #toldPause: RelayPause | undefined
  readonly #grace: Grace

  constructor(parts: BucketLeasesParts) {
    this.#parts = parts
    this.#grace = new Grace(parts.clock, parts.leaseMs)
  }

  /** How often {@link keep} must be called, in ms. */
  get intervalMs(): number {
    return Math.min(this.#parts.leaseMs / 5, 1000)
  }

  /** The buckets to fetch from: ours, and not on their way to another relay. */
  get buckets(): number[] {
    const stays = (bucket: number) => !this.#leaving.has(bucket) && !this.#releasing.has(bucket)
    return [...this.#leases.keys()].filter(stays).sort((one, other) => one - other)
  }

  /** The epoch that fences writes to a bucket's events; `undefined` when it is not ours. */
  epochOf(bucket: number): number | undefined {
    return this.#leases.get(bucket)?.epoch
  }

  /**
   * Tells whether a publish that begins now would end while the bucket is still ours. Asks the wall clock too: in a machine that
   * was suspended the other one may have stood still while the lease ran out.
   */
  safe(bucket: number): boolean {
    const { clock, leaseMs, publishTimeoutMs } = this.#parts
    const lease = this.#leases.get(bucket)
    if (lease === undefined || this.#releasing.has(bucket)) return false
    return leaseMs - longestSince(lease.since, clock) >= publishTimeoutMs
  }

  /** Whether a publish may begin in any bucket; without one, whether it might if there were one. */
  get usable(): boolean {
    if (this.#leases.size > 0) return [...this.#leases.keys()].some((bucket) => this.safe(bucket))
    const { clock, leaseMs, publishTimeoutMs } = this.#parts
    return leaseMs - longestSince(this.#renewedAt, clock) >= publishTimeoutMs
  }

  /** Declares whose events are in hand from now on: those buckets are not handed over meanwhile. */
  hold(buckets: Iterable<number>): void {
    this.#inHand = new Set(buckets)
  }

  /**
   * Registers the relay and takes what is free of its share.
   *
   * @throws DataAccessError `RELAY_PUBLISHER_MISMATCH` when an older relay with another publisher lives.
   */
  async join(): Promise<void> {
    try {
      await this.keep()
    } catch (error) {
      // It may be registered, and would keep its share from everybody for the length of a lease.
      await this.leave().catch(() => {})
      throw error
    }
  }

  /**
   * Gives a sign of life, renews, takes and hands over. After an error it may be called again, and finds out what was carried out.
   *
   * @throws DataAccessError `RELAY_PUBLISHER_MISMATCH` when an older relay has another publisher, also one that registered at the
   * same time and was not seen before; from then on no publish begins.
   */
  async keep(): Promise<void> {
    const { relay, clock, leaseMs, signOfLife } = this.#parts
    // A pause that begins or ends is told at once: others ask why nothing comes.
    const news = signOfLife?.().paused !== this.#toldPause
    if (news || this.#doubts > this.#answered || longestSince(this.#renewedAt, clock) >= leaseMs / 3) await this.#renew()
    let view = await this.#look()
    if (view.live.every(({ id }) => id !== relay.id)) {
      // Whatever our own clock says, whoever looks now takes us for dead.
      await this.#renew()
      view = await this.#look()
    }
    const { live, dead, free } = view
    this.#refuseOtherPublisher(live)
    if (dead.length > 0 && this.#grace.over) await this.#takeDead()
    await this.#balance(Math.ceil(bucketCount / Math.max(1, live.length)), free + dead.length)
  }

  /**
   * Learns that the fence refused a write: the bucket is another relay's, whatever our own clock says. The next {@link keep} asks
   * whether it is. One that is being released stays so: it must not come back by that.
   */
  refused(bucket: number, epoch: number): void {
    if (this.epochOf(bucket) !== epoch || this.#releasing.has(bucket)) return
    this.#forget(bucket)
    this.#doubts++
  }

  /** Gives everything back. */
  async leave(): Promise<void> {
    await this.#parts.store.leave(this.#parts.relay.id)
    this.#leases.clear()
    this.#leaving.clear()
    this.#releasing.clear()
    this.#renewedAt = undefined
    this.#grace.left()
  }

  async #look(): Promise<LeaseView> {
    const { store, clock } = this.#parts
    const sentAt = clock.now()
    const view = await store.look()
    this.#grace.looked(view, sentAt)
    return view
  }

  async #renew(): Promise<void> {
    const { store, relay, clock, leaseMs, signOfLife } = this.#parts
    const before = momentOf(clock)
    const sign = signOfLife?.()
    // As they are now: both may change while the database answers.
    const [paused, doubts] = [sign?.paused, this.#doubts]
    await store.heartbeat(relay, leaseMs, sign)
    this.#toldPause = paused
    this.#grace.back()
    // Also when we know of none: a claim whose answer was lost may be carried out late.
    this.#renewed(await store.renew(relay.id, leaseMs), before)
    this.#renewedAt = before
    this.#answered = doubts
  }

  /** Of two that registered at the same time each may have looked before it could see the other: the younger one gives way. */
  #refuseOtherPublisher(live: readonly RelayIdentity[]): void {
    const { relay, leaseMs } = this.#parts
    const [oldest] = live
    if (oldest === undefined || oldest.publisher === relay.publisher || live.every(({ id }) => id !== relay.id)) return
    for (const bucket of this.#leases.keys()) this.#releasing.add(bucket)
    throw new DataAccessError(
      'RELAY_PUBLISHER_MISMATCH',
      `Relay "${oldest.name}" publishes this outbox to publisher "${oldest.publisher}", and this one, which came later, would publish to "${relay.publisher}": each event would reach only one of them. Stop it first (after a crash its registration ends within ${leaseMs} ms), or give all relays one publisher that publishes to both`,
      { context: { running: oldest.publisher, refused: relay.publisher } },
    )
  }

  /** Does not reject: what somebody has locked of the dead keeps nobody from the buckets that are free. */
  async #takeDead(): Promise<void> {
    const { store, relay, noteCrash, onDead, onNotTaken } = this.#parts
    const found = await store.takeDead(relay.id, noteCrash).catch(onNotTaken)
    for (const dead of found ?? []) onDead(dead)
  }

  async #balance(fair: number, free: number): Promise<void> {
    const { store, relay, leaseMs } = this.#parts
    await this.#release()
    if (this.#leases.size < fair && free > 0 && this.#renewedAt !== undefined) {
      const doubts = ++this.#doubts
      const claimed = await store.claim(relay.id, fair - this.#leases.size, leaseMs)
      // Unless a write was refused meanwhile.
      if (this.#doubts === doubts) this.#doubts--
      // Not from now on: when our registration ends, others free whatever we hold.
      for (const { bucket, epoch } of claimed) this.#leases.set(bucket, { epoch, since: this.#renewedAt })
    }
    this.#leaving.clear()
    const surplus = [...this.#leases.keys()].sort((one, other) => one - other).slice(fair)
    for (const bucket of surplus) this.#leaving.add(bucket)
    for (const bucket of surplus) if (!this.#inHand.has(bucket)) this.#releasing.add(bucket)
    await this.#release()
  }

  /**
   * Forgets what it releases only behind the answer. Forgotten before, a bucket that the database did not free would be renewed with
   * the others, and read by nobody. Begun, a release is not taken back: it may be carried out late, so only a new claim brings it back.
   */
  async #release(): Promise<void> {
    if (this.#releasing.size === 0) return
    const buckets = [...this.#releasing].map((bucket) => ({ bucket, epoch: this.epochOf(bucket) ?? 0 }))
    await this.#parts.store.release(this.#parts.relay.id, buckets)
    for (const { bucket } of buckets) this.#forget(bucket)
  }

  /** Learns what the database holds for us: confirmed, lost, or ours by a claim of whose answer nothing came. */
  #renewed(renewed: readonly LeasedBucket[], since: Moment): void {
    const confirmed = new Map(renewed.map(({ bucket, epoch }) => [bucket, epoch]))
    const lost: number[] = []
    for (const [bucket, { epoch }] of this.#leases) {
      if (confirmed.get(bucket) === epoch) continue
      // What was being released is what we wanted to lose.
      if (!this.#releasing.has(bucket)) lost.push(bucket)
      this.#forget(bucket)
    }
    // One that is new here has an epoch that was never seen: it is read from its beginning.
    for (const [bucket, epoch] of confirmed) this.#leases.set(bucket, { epoch, since })
    if (lost.length > 0) this.#parts.onLost(lost)
  }

  #forget(bucket: number): void {
    this.#leases.delete(bucket)
    this.#leaving.delete(bucket)
    this.#releasing.delete(bucket)
  }
}
