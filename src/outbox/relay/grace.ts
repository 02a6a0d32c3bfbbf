import { type Clock, longestSince, type Moment, momentOf } from '../../kernel/clock.ts'
import type { LeaseView } from '../store/lease-store.ts'

/** The time in which a relay takes no other for dead, whatever the database says: some may live, and had no chance to say so. */
export class Grace {
  readonly #clock: Clock
  readonly #leaseMs: number
  #until = Number.NEGATIVE_INFINITY
  /** When the database last answered a look at the others. */
  #lookedAt: Moment | undefined
  /** When the last look was sent, and how many ms each relay that lived had left then. */
  #sentAt = 0
  #left: ReadonlyMap<string, number> = new Map()

  constructor(clock: Clock, leaseMs: number) {
    this.#clock = clock
    this.#leaseMs = leaseMs
  }

  get over(): boolean {
    return this.#clock.now() >= this.#until
  }

  /**
   * Learns what a look showed. Whose time has passed sooner than our own clock allows did not fail to renew: the database's was set
   * forward, or another database answers, and all get one lease to come back.
   *
   * @param sentAt when it was sent, by {@link Clock.now}, which is not set with the database's.
   */
  looked({ live, dead }: LeaseView, sentAt: number): void {
    const passed = this.#clock.now() - this.#sentAt
    if (dead.some(({ id }) => (this.#left.get(id) ?? 0) > passed)) this.#begin()
    this.#lookedAt = momentOf(this.#clock)
    this.#sentAt = sentAt
    this.#left = new Map(live.map(({ id, leftMs }) => [id, leftMs]))
  }

  /**
   * The database is there. Who was away cannot tell whether the others were too: they get one lease to come back. A registration is
   * renewed when a third of it is over, or up to a fifth of it later, so none ends by an absence of less than 0.46 of a lease.
   */
  back(): void {
    const awayMs = longestSince(this.#lookedAt, this.#clock)
    if (awayMs === Number.POSITIVE_INFINITY || awayMs <= this.#leaseMs * 0.4) return
    // Where each look takes that long, a grace must still end.
    if (awayMs > this.#leaseMs || this.#clock.now() - this.#until > this.#leaseMs) this.#begin()
  }

  /** Forgets the others. */
  left(): void {
    this.#lookedAt = undefined
    this.#left = new Map()
  }

  #begin(): void {
    this.#until = this.#clock.now() + this.#leaseMs
  }
}
