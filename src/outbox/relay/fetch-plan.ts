import type { Moment } from '../../kernel/clock.ts'
import type { FetchRequest } from '../store/event-store.ts'
import type { StoredEvent } from '../store/stored-event.ts'
import { ParkedLanes } from './parked-lanes.ts'
import { laneOf } from './waves.ts'

/** How often a relay reads buckets with parked keys from their beginning, in ms: a redriven letter may have come back. */
const rescanEveryMs = 1000

/** The most parked keys that a statement leaves out by name; rows of the others are read and dropped. */
const namedKeys = 500

/** The least that is read of a bucket, so that a small batch still brings several events of a key. */
const smallestQuota = 8

/** Readings grow to so many rows, or by one batch that is larger, by what was read in vain; by more than a batch, they go without payloads. */
const largestInVain = 10_000

/**
 * Decides what to read next. Reading begins at the first pending event of each bucket; it leaves out what is in hand and what is
 * parked, and passes over what was seen before, as far as the watermark allows: the backlog behind a blocked key, and the
 * dead rows of what was published while something keeps PostgreSQL from removing them, are read once and not with every fetch.
 */
export class FetchPlan {
  readonly parked = new ParkedLanes()
  readonly #batchSize: number
  /** How far buckets were read. */
  readonly #passed = new Map<number, bigint>()
  #epochs: ReadonlyMap<number, number> = new Map()
  #fullBuckets = 0
  #dropped = 0
  #droppedSinceRescan = 0
  #rescanAt = 0
  #rescans = false
  #rescanMs = 0

  constructor(batchSize: number) {
    this.#batchSize = batchSize
  }

  /**
   * Tells the plan which buckets are ours, under which epochs, and forgets what concerns others: somebody else may have
   * changed them meanwhile. Resolves to whether there are new ones.
   */
  own(epochs: ReadonlyMap<number, number>): boolean {
    let gained = false
    const kept = new Set<number>()
    for (const [bucket, epoch] of epochs) {
      if (this.#epochs.get(bucket) === epoch) kept.add(bucket)
      else gained = true
    }
    this.parked.keepOnly(kept)
    for (const bucket of this.#passed.keys()) if (!kept.has(bucket)) this.#passed.delete(bucket)
    this.#epochs = epochs
    return gained
  }

  /** Forgets how far was read. */
  rescan(): void {
    this.#passed.clear()
  }

  /** @param inHand the numbers of events that their mark has not reached yet. */
  request(inHand: readonly bigint[], now: number): FetchRequest {
    if (now >= this.#rescanAt) {
      this.rescan()
      // Reading past events of parked keys costs about a millisecond per hundred: spend a tenth of the time on it at most.
      this.#rescanAt = now + Math.max(rescanEveryMs, this.#droppedSinceRescan / 10, this.#rescanMs * 20)
      this.#droppedSinceRescan = 0
      this.#rescans = true
    }
    const buckets = [...this.#epochs.keys()]
    // One part more than there are full buckets: the others must not wait for their backlogs.
    const parts = Math.max(1, this.#fullBuckets > 0 ? Math.min(this.#fullBuckets + 1, buckets.length) : buckets.length)
    return {
      shares: buckets.map((bucket) => ({ bucket, after: this.#passed.get(bucket) ?? 0n })),
      // What was read in vain last time will be again, until it may be passed over.
      quota: Math.max(Math.min(smallestQuota, this.#batchSize), Math.ceil(this.#batchSize / parts)) + this.#dropped,
      limit: this.#batchSize + this.#dropped,
      exceptKeys: this.parked.keys(namedKeys),
      exceptSequences: inHand,
      bare: this.#dropped > this.#batchSize,
    }
  }

  /**
   * Takes what a fetch brought: parks what must wait, and gives back what may be published, with whether there is more to
   * read at once.
   *
   * @param watermark the sequence number up to which nothing can appear any more.
   * @param tookMs how long the fetch took: the slower it is to begin anew, the rarer it is done.
   */
  take(
    rows: readonly StoredEvent[],
    { shares, quota, limit }: FetchRequest,
    now: Moment,
    watermark: bigint,
    tookMs = 0,
  ): { ready: StoredEvent[]; more: boolean } {
    const perBucket = new Map<number, { count: number; last: bigint }>()
    const ready: StoredEvent[] = []
    let cut = rows.length >= limit
    let dropped = 0
    let comesAgain = 0
    if (this.#rescans) this.#rescanMs = tookMs
    this.#rescans = false
    for (const row of rows) {
      const parked = this.parked.has(laneOf(row))
      if (!parked && row.waitMs === 0 && ready.length === this.#batchSize) {
        // More was read since some was expected to be in vain: from here on it is read again.
        cut = true
        break
      }
      perBucket.set(row.bucket, { count: (perBucket.get(row.bucket)?.count ?? 0) + 1, last: row.sequence })
      if (!parked && row.waitMs === 0) {
        ready.push(row)
      } else {
        dropped++
        if (row.sequence > watermark) comesAgain++
        if (!parked) this.parkHead(row, row.waitMs, now)
      }
    }
    this.#droppedSinceRescan += dropped
    this.#fullBuckets = 0
    for (const { bucket, after } of shares) {
      const { count, last } = perBucket.get(bucket) ?? { count: 0, last: after }
      const full = count >= quota
      if (full) this.#fullBuckets++
      // A bucket that was read to its end has nothing more below the watermark.
      const seen = (full || cut) && last < watermark ? last : watermark
      if (seen > after) this.#passed.set(bucket, seen)
    }
    const more = this.#fullBuckets > 0 || cut
    // While all is in vain each reading is twice the one before: a thousand batches of waiting keys are ten readings.
    const grown = more && ready.length === 0 ? this.#dropped + dropped : dropped
    // What may not be passed over yet is read again, and with no room beyond it nothing else would be.
    this.#dropped = Math.max(comesAgain, Math.min(grown, Math.max(largestInVain, this.#batchSize)))
    return { ready, more }
  }

  /** Parks the lane of an event for so many milliseconds. */
  parkHead(event: StoredEvent, waitMs: number, { now, wall }: Moment): void {
    // The wall clock tells whole milliseconds, and would be up to one early.
    const due = { now: now + waitMs, wall: wall + waitMs + 1 }
    this.parked.park(laneOf(event), { id: event.id, bucket: event.bucket, sequence: event.sequence, due })
  }

  /** Parks the key of an event that became a dead letter. */
  block(event: StoredEvent): void {
    this.parked.hold(laneOf(event), event.bucket)
  }

  /** Takes what is pending before the heads that it knows, in sequence order: the first of each key is its head from now on. */
  meet(earlier: readonly StoredEvent[], now: Moment): void {
    for (const row of earlier.toReversed()) this.parkHead(row, row.waitMs, now)
  }

  /** Lets a lane go on behind an event, unless it waits for a later one: what was passed over is read again. */
  free(lane: string, sequence: bigint): void {
    const head = this.parked.free(lane, sequence)
    if (head !== undefined) this.#rewind(head.bucket, head.sequence)
  }

  /** Brings the keys held by dead letters up to date; tells whether some are held no longer. */
  syncBlocked(keys: readonly { readonly orderingKey: string; readonly bucket: number }[]): boolean {
    const ours = keys.filter(({ bucket }) => this.#epochs.has(bucket))
    const freed = this.parked.syncBlocked(ours)
    for (const head of freed) this.#rewind(head.bucket, head.sequence)
    return freed.length > 0
  }

  #rewind(bucket: number, sequence: bigint): void {
    const passed = this.#passed.get(bucket)
    if (passed !== undefined && passed >= sequence) this.#passed.set(bucket, sequence > 0n ? sequence - 1n : 0n)
  }
}
