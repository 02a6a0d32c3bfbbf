import type { Clock } from '../../kernel/clock.ts'
import type { RelayMarks } from '../store/relay-marks.ts'
import { writeThrough } from '../store/write-through.ts'
import { type BatchSettler, countsOf, type RelayCounts, type SettledEvent } from './batch-settler.ts'
import type { BucketLeases } from './bucket-leases.ts'
import type { EventInHand } from './event-in-hand.ts'
import type { EventReader } from './event-reader.ts'
import type { DatabaseOutage } from './outage.ts'
import type { RelayListeners } from './relay-events.ts'

const nothing: RelayCounts = { published: 0, retried: 0, deadLettered: 0 }

/** What a {@link BatchMarker} works with. */
export interface BatchMarkerParts {
  readonly settler: BatchSettler
  readonly marks: RelayMarks
  readonly leases: BucketLeases
  readonly reader: EventReader
  readonly database: DatabaseOutage
  readonly listeners: RelayListeners
  readonly clock: Clock
  /** How often a mark is tried; without it, while the leases hold. */
  readonly tries: number | undefined
  /** Called when a batch is in hand no more. */
  readonly onEnd: () => void
}

/** Writes down what became of a batch while the relay goes on: one batch at a time. */
export class BatchMarker {
  readonly #parts: BatchMarkerParts
  #hands: readonly EventInHand[] = []
  #marking: Promise<RelayCounts> = Promise.resolve(nothing)

  constructor(parts: BatchMarkerParts) {
    this.#parts = parts
  }

  /** The batch that is being marked. */
  get hands(): readonly EventInHand[] {
    return this.#hands
  }

  /** Begins to write down what became of a batch; {@link marked} tells its end. */
  begin(settled: readonly SettledEvent[], deadline: AbortSignal): void {
    this.#hands = settled.map(({ hand }) => hand)
    this.#marking = this.#write(settled, deadline)
    this.#marking.catch(() => {})
  }

  /** Waits until the batch is marked, and leaves its counts to {@link marked}. @throws what the database throws. */
  async ended(): Promise<void> {
    await this.#marking
  }

  /** Waits until the batch is marked; resolves to the counts of what was not told before. @throws what the database throws. */
  async marked(): Promise<RelayCounts> {
    const marking = this.#marking
    this.#marking = Promise.resolve(nothing)
    return marking
  }

  async #write(settled: readonly SettledEvent[], deadline: AbortSignal): Promise<RelayCounts> {
    const { settler, marks, leases, reader, database, clock, tries, onEnd } = this.#parts
    // Not what a note finds out meanwhile: behind marks that were undone this one must not be written with a later try.
    const { known } = marks
    let failed = false
    try {
      const { kept, refused, undone } = await writeThrough({
        write: (again) => settler.write(settled, again, known),
        worthwhile: () => settled.some(({ hand }) => leases.safe(hand.row.bucket)),
        clock,
        deadline,
        onFailure: (error) => {
          failed = true
          database.began('mark', error)
        },
        tries,
      })
      database.ended('mark')
      // Not before: until then what was read ahead is published.
      if (failed) reader.forget()
      else if (undone) reader.reset()
      if (refused.length > 0) this.#refused(refused)
      settler.tell(kept)
      return countsOf(kept)
    } catch (error) {
      marks.doubt(known)
      throw error
    } finally {
      this.#hands = []
      onEnd()
    }
  }

  /** The buckets are another relay's, whatever our clock says: nothing of them may go out, also not behind what was refused. */
  #refused(hands: readonly EventInHand[]): void {
    for (const { row, epoch } of hands) this.#parts.leases.refused(row.bucket, epoch)
    this.#parts.reader.reset()
    this.#parts.listeners.tell('leaseLost', { buckets: [...new Set(hands.map(({ row }) => row.bucket))] })
  }
}
