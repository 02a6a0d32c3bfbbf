import { keyOfLane, laneOf } from './waves.ts'

/** The head of a parked lane: the event that everything behind it waits for. */
export interface ParkedHead {
  /** `undefined` when a dead letter holds the key. */
  readonly id: string | undefined
  readonly bucket: number
  readonly sequence: bigint
  /** When to look at it again, on the relay's clock, in ms; `Infinity`: when somebody redrives or discards the letter. */
  readonly due: number
}

/**
 * The lanes that must wait: their head has its next try, or its time, still to come, or became a dead letter that blocks its
 * key. Known by the relay alone and found again by its successor, so that waiting costs no write.
 */
export class ParkedLanes {
  readonly #heads = new Map<string, ParkedHead>()
  readonly #perBucket = new Map<number, number>()

  get size(): number {
    return this.#heads.size
  }

  has(lane: string): boolean {
    return this.#heads.has(lane)
  }

  /** Tells whether a bucket holds parked events, which a fetch would read in vain. */
  hasIn(bucket: number): boolean {
    return this.#perBucket.has(bucket)
  }

  park(lane: string, head: ParkedHead): void {
    this.free(lane)
    this.#heads.set(lane, head)
    this.#perBucket.set(head.bucket, (this.#perBucket.get(head.bucket) ?? 0) + 1)
  }

  /** Lets a lane go on; resolves to the head it waited for. */
  free(lane: string): ParkedHead | undefined {
    const head = this.#heads.get(lane)
    if (head === undefined) return undefined
    this.#heads.delete(lane)
    const left = (this.#perBucket.get(head.bucket) ?? 1) - 1
    if (left > 0) this.#perBucket.set(head.bucket, left)
    else this.#perBucket.delete(head.bucket)
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

  /** Up to `limit` heads whose time has come, with their lanes. */
  due(now: number, limit: number): { readonly lane: string; readonly id: string }[] {
    const found: { lane: string; id: string }[] = []
    for (const [lane, head] of this.#heads) {
      if (head.due <= now && head.id !== undefined) found.push({ lane, id: head.id })
      if (found.length === limit) break
    }
    return found
  }

  /** When the next head is due; `Infinity` when none ever is. */
  nextDue(): number {
    let next = Number.POSITIVE_INFINITY
    for (const { due } of this.#heads.values()) next = Math.min(next, due)
    return next
  }

  /** Brings the keys held by dead letters up to date; resolves to the heads of those that are held no longer. */
  syncBlocked(keys: readonly { readonly orderingKey: string; readonly bucket: number }[]): ParkedHead[] {
    const held = new Map(keys.map((key) => [laneOf({ id: '', orderingKey: key.orderingKey }), key.bucket]))
    const freed: ParkedHead[] = []
    for (const [lane, head] of this.#heads) {
      if (head.id === undefined && !held.has(lane)) freed.push(this.free(lane) as ParkedHead)
    }
    for (const [lane, bucket] of held) {
      const sequence = this.#heads.get(lane)?.sequence ?? 0n
      this.park(lane, { id: undefined, bucket, sequence, due: Number.POSITIVE_INFINITY })
    }
    return freed
  }

  /** Forgets the lanes of buckets that are ours no longer. */
  keepOnly(buckets: ReadonlySet<number>): void {
    for (const [lane, head] of this.#heads) if (!buckets.has(head.bucket)) this.free(lane)
  }
}
