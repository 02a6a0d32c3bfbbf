import type { Moment } from '../../kernel/clock.ts'
import type { HeadPlace } from '../store/event-store.ts'
import { keyOfLane, laneOf } from './waves.ts'

/** The head of a parked lane: the event that everything behind it waits for. */
export interface ParkedHead {
  /** `undefined` when a dead letter holds the key. */
  readonly id: string | undefined
  readonly bucket: number
  readonly sequence: bigint
  /**
   * When to look at it again, by whichever of the two clocks gets there first: the one may stand still while the machine is
   * suspended, the other be set back. {@link never}: when somebody redrives or discards the letter.
   */
  readonly due: Moment
}

const never: Moment = { now: Number.POSITIVE_INFINITY, wall: Number.POSITIVE_INFINITY }

/**
 * The lanes that must wait: their head has its next try, or its time, still to come, or became a dead letter that blocks its
 * key. Known by the relay alone and found again by its successor, so that waiting costs no write.
 */
export class ParkedLanes {
  readonly #heads = new Map<string, ParkedHead>()

  get size(): number {
    return this.#heads.size
  }

  has(lane: string): boolean {
    return this.#heads.has(lane)
  }

  /** Whether an event has to wait, for itself or one before it. */
  waits(lane: string, sequence: bigint): boolean {
    const head = this.#heads.get(lane)
    return head !== undefined && head.sequence <= sequence
  }

  park(lane: string, head: ParkedHead): void {
    // Behind all others: those that fail again and again must not keep the ones that wait their turn from it.
    this.#heads.delete(lane)
    this.#heads.set(lane, head)
  }

  /** Parks a lane behind a dead letter. From the first number on: letters from before it may be redriven meanwhile. */
  hold(lane: string, bucket: number): void {
    this.park(lane, { id: undefined, bucket, sequence: 0n, due: never })
  }

  /** Lets a lane go on behind an event, unless it waits for a later one; gives back the head it waited for. */
  free(lane: string, sequence: bigint): ParkedHead | undefined {
    const head = this.#heads.get(lane)
    if (head === undefined || head.sequence > sequence) return undefined
    this.#heads.delete(lane)
    return head
  }

  /** Up to `limit` of the ordering keys that wait. */
  keys(limit: number): string[] {
    const keys: string[] = []
    for (const lane of this.#heads.keys()) {
      const key = keyOfLane(lane)
      if (key !== undefined) keys.push(key)
      if (keys.length === limit) break
    }
    return keys
  }

  /** Up to `limit` heads whose time has come, with their lanes: first those that were parked first. */
  due(now: Moment, limit: number): { readonly lane: string; readonly id: string; readonly sequence: bigint }[] {
    const found: { lane: string; id: string; sequence: bigint }[] = []
    for (const [lane, { id, sequence, due }] of this.#heads) {
      if (id !== undefined && untilMs(due, now) <= 0) found.push({ lane, id, sequence })
      if (found.length === limit) break
    }
    return found
  }

  /** The places of the heads that wait for their time; of keys that dead letters hold nothing may go on anyway. */
  places(): HeadPlace[] {
    return [...this.#heads].flatMap(([lane, { id, bucket, sequence }]) => {
      const key = keyOfLane(lane)
      return key === undefined || id === undefined ? [] : [{ key, bucket, head: sequence }]
    })
  }

  /** Milliseconds until the next head is due; `Infinity` when none ever is. */
  dueInMs(now: Moment): number {
    let next = Number.POSITIVE_INFINITY
    for (const { due } of this.#heads.values()) next = Math.min(next, untilMs(due, now))
    return Math.max(0, next)
  }

  /** Brings the keys held by dead letters up to date; resolves to the heads of those that are held no longer. */
  syncBlocked(keys: readonly { readonly orderingKey: string; readonly bucket: number }[]): ParkedHead[] {
    const held = new Map(keys.map((key) => [laneOf({ id: '', orderingKey: key.orderingKey }), key.bucket]))
    const freed: ParkedHead[] = []
    for (const [lane, head] of this.#heads) {
      if (head.id !== undefined || held.has(lane)) continue
      this.#heads.delete(lane)
      freed.push(head)
    }
    for (const [lane, bucket] of held) {
      const head = this.#heads.get(lane)
      // One that is held keeps its place: a fetch leaves out the first few hundred by name.
      if (head === undefined || head.id !== undefined) this.hold(lane, bucket)
    }
    return freed
  }

  /** Forgets the lanes of buckets that are ours no longer. */
  keepOnly(buckets: ReadonlySet<number>): void {
    for (const [lane, head] of this.#heads) if (!buckets.has(head.bucket)) this.#heads.delete(lane)
  }
}

function untilMs(due: Moment, now: Moment): number {
  return Math.min(due.now - now.now, due.wall - now.wall)
}
