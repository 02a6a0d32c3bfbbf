import { type Clock, momentOf } from '../../kernel/clock.ts'
import type { Logger } from '../../kernel/logger.ts'
import type { EventDefinitions } from '../event/event-definitions.ts'
import type { OutboxEvent } from '../publishing/publisher.ts'
import type { EventStore } from '../store/event-store.ts'
import type { ProgressStore } from '../store/progress-store.ts'
import type { RelayMarks, RelayNote } from '../store/relay-marks.ts'
import type { SettlementStore } from '../store/settlement-store.ts'
import type { StoredEvent } from '../store/stored-event.ts'
import { Watermark } from '../store/watermark.ts'
import type { SettledEvent } from './batch-settler.ts'
import type { BucketLeases } from './bucket-leases.ts'
import { type EventInHand, toHand } from './event-in-hand.ts'
import { FetchPlan } from './fetch-plan.ts'
import type { RelaySettings } from './relay-options.ts'
import { UnreadTypes } from './unread-types.ts'
import { laneOf } from './waves.ts'

/** How often the keys held by dead letters, and the watermark, are brought up to date, in ms. */
const syncEveryMs = 1000

/** What an {@link EventReader} works with. */
export interface EventReaderParts {
  readonly marks: RelayMarks
  readonly events: EventStore
  readonly progress: ProgressStore
  readonly settlements: SettlementStore
  readonly settings: RelaySettings
  readonly definitions: EventDefinitions
  readonly clock: Clock
  readonly logger: Logger
  readonly leases: BucketLeases
}

/** Events to publish, in order, and whether more can be read at once. */
export interface Reading {
  readonly hands: readonly EventInHand[]
  readonly more: boolean
  /** The note, when exactly these events were noted as in hand while they were read; else they are still to be noted. */
  readonly note?: RelayNote | undefined
}

/** Reads what is due from the buckets that are leased, and knows which keys must wait. */
export class EventReader {
  readonly #parts: EventReaderParts
  readonly #plan: FetchPlan
  #watermark = new Watermark()
  readonly #tellUnread: (event: OutboxEvent) => void
  #syncAt = 0
  #redrives = 0
  #meetsEarlier = false
  #epochs: ReadonlyMap<number, number> = new Map()
  #ahead: Promise<Reading | undefined> | undefined
  #readingMs = 0
  #stale = false
  /** The last reading found nothing, and so the relay waited. */
  #waited = false
  /** There are new buckets, of which the keys that dead letters hold are not known yet. */
  #unsynced = false

  constructor(parts: EventReaderParts) {
    this.#parts = parts
    const unread = new UnreadTypes(parts.logger)
    this.#tellUnread = (event) => unread.note(event)
    this.#plan = new FetchPlan(parts.settings.batchSize)
  }

  /** Milliseconds until the next event that waits is due; `Infinity` when none is known. */
  get dueInMs(): number {
    return this.#plan.parked.dueInMs(momentOf(this.#parts.clock))
  }

  /** How long the last fetch took, in ms. */
  get readingMs(): number {
    return this.#readingMs
  }

  /** The buckets that the last reading looked at. */
  get buckets(): number[] {
    return [...this.#epochs.keys()]
  }

  /** What was read behind the batch before, as far as it may still be published; `undefined` when nothing was, or it is forgotten. */
  async ahead(): Promise<Reading | undefined> {
    const ahead = await this.#ahead
    this.#ahead = undefined
    if (ahead === undefined) return undefined
    await this.#prepare()
    if (this.#stale) return undefined
    // Meanwhile an event of the batch before may have failed; its key is read again once that is settled.
    const hands = this.#stillOurs(ahead.hands).filter((hand) => !this.#plan.parked.waits(laneOf(hand), hand.row.sequence))
    // What was lost may be ours again under another epoch.
    return { hands, more: ahead.more || hands.length < ahead.hands.length }
  }

  /** Reads the next events, of which none may be published and not marked: the parked heads whose time has come, and a fetch. */
  async next(): Promise<Reading> {
    await this.#parts.progress.passOverMarks(this.#parts.marks.relay)
    await this.#prepare()
    if (this.#stale) {
      // What is dropped unread must be read again: forget how far the plan believes to be.
      this.#plan.rescan()
      this.#stale = false
    }
    const heads = await this.#dueHeads()
    // Behind heads that wait a fetch may bring what must not be published yet, and is in nobody's hand.
    const { hands, more, note } = await this.#fetch([], this.#plan.parked.size === 0).catch((error: unknown): Reading => {
      // Where to read past a long backlog takes too long, its key still goes on; the error is met again without a head that is due.
      if (heads.length === 0) throw error
      this.forget()
      return { hands: [], more: true }
    })
    const all = this.#stillOurs([...heads, ...hands])
    if (all.length === 0 && !more) {
      this.#waited = true
      return { hands: [], more: this.#parts.clock.now() >= this.#syncAt && (await this.#sync()) }
    }
    return { hands: all, more: more || heads.length > 0, note }
  }

  /**
   * Begins to read on behind a batch while it is published, unless some key waits.
   *
   * @param inHand what is not marked yet, the batch included.
   */
  readAhead(inHand: readonly EventInHand[]): void {
    if (this.#plan.parked.size > 0) return
    // An error here is met again by the reading that follows.
    this.#ahead = this.#fetch(inHand, false).catch((): undefined => void this.forget())
  }

  /** Keeps keys from the next reading behind the first of these events in each: they come as heads that are due, beside others. */
  park(hands: readonly EventInHand[]): void {
    const now = momentOf(this.#parts.clock)
    for (const { row } of hands.toReversed()) this.#plan.parkHead(row, 0, now)
  }

  /** Learns what became of a batch: parks the keys that must wait, and lets go on those that waited for it. */
  settled(settled: readonly SettledEvent[], untried: readonly EventInHand[]): void {
    const now = momentOf(this.#parts.clock)
    for (const { hand, settlement } of settled) {
      if (settlement.kind === 'retry') this.#plan.parkHead(hand.row, settlement.delayMs, now)
      else if (settlement.kind === 'dead-letter' && settlement.blocksKey) this.#plan.block(hand.row)
      else if (settlement.kind !== 'pause') this.#plan.free(laneOf(hand), hand.row.sequence)
    }
    if (untried.length > 0 || settled.some(({ settlement }) => settlement.kind === 'pause')) this.reset()
  }

  /**
   * Learns what a note told. When there were redrives, or marks were undone, what was read is forgotten and must not be published,
   * since redriven letters and what has lost its mark come before it; resolves to that.
   *
   * @param known how many marks were known before the note.
   */
  outdated({ redrives, marks }: RelayNote, known: number): boolean {
    const outdated = this.#parts.marks.learn(marks, known) || redrives !== this.#redrives
    this.#redrives = redrives
    if (outdated) this.reset()
    return outdated
  }

  /** Forgets what was read and not published, and how far was read. */
  reset(): void {
    this.#stale = true
    // What is forgotten may come before a head that waits, which would hide it.
    this.#meetsEarlier = true
  }

  /** Forgets too how far the sequence is: behind an error another copy of the database may answer, which draws numbers again. */
  forget(): void {
    this.#watermark = new Watermark()
    this.reset()
  }

  /** Brings up to date whose events may be read, before any of them is. */
  async #prepare(): Promise<void> {
    const { leases, clock } = this.#parts
    this.#epochs = new Map(leases.buckets.map((bucket) => [bucket, leases.epochOf(bucket) as number]))
    if (this.#plan.own(this.#epochs)) this.#unsynced = true
    // Not in the first reading after a wait: the event that ended it would wait for this.
    if (this.#unsynced || (clock.now() >= this.#syncAt && !this.#waited)) await this.#sync()
    this.#waited = false
    if (this.#meetsEarlier) await this.#meetEarlier()
  }

  /** Learns which keys dead letters hold, of redrives, and how far the sequence is; resolves to whether there may be more to read. */
  async #sync(): Promise<boolean> {
    const { settlements, events, progress, clock, marks } = this.#parts
    this.#syncAt = clock.now() + syncEveryMs
    const freed = this.#plan.syncBlocked(await settlements.blockedKeys())
    const redriven = this.outdated({ redrives: await progress.redrivesSince(marks.relay), marks: undefined }, marks.known)
    const anew = await events.sampleSequence(this.#watermark)
    if (anew) this.reset()
    this.#unsynced = false
    return freed || redriven || anew
  }

  /** Finds what comes before heads which wait, redriven or forgotten: it would not be read before the head's time. */
  async #meetEarlier(): Promise<void> {
    const earlier = await this.#parts.events.fetchEarlier(this.#plan.parked.places())
    this.#plan.meet(earlier, momentOf(this.#parts.clock))
    this.#meetsEarlier = false
  }

  async #dueHeads(): Promise<EventInHand[]> {
    const { events, clock, settings } = this.#parts
    const due = this.#plan.parked.due(momentOf(clock), settings.batchSize)
    if (due.length === 0) return []
    const rows = new Map((await events.fetchByIds(due.map(({ id }) => id))).map((row) => [row.id, row]))
    const heads: StoredEvent[] = []
    for (const { lane, id, sequence } of due) {
      const row = rows.get(id)
      if (row === undefined) this.#plan.free(lane, sequence)
      else if (row.waitMs > 0) this.#plan.parkHead(row, row.waitMs, momentOf(clock))
      else heads.push(row)
    }
    return this.#toHands(heads)
  }

  async #fetch(inHand: readonly EventInHand[], noting: boolean): Promise<Reading> {
    const { events, clock, marks } = this.#parts
    // What is in hand under an epoch that is over will not be marked: it must come again before what follows it.
    const held = this.#stillOurs(inHand).map(({ row }) => row.sequence)
    const request = this.#plan.request(held, clock.now())
    const watermark = this.#watermark.value
    const before = clock.now()
    const { rows, note } =
      noting && !request.bare && !marks.generationOver
        ? await events.fetchNoting(request, marks)
        : { rows: await events.fetch(request), note: undefined }
    const now = momentOf(clock)
    this.#readingMs = now.now - before
    const { ready, more } = this.#plan.take(rows, request, now, watermark, this.#readingMs)
    const isBare = request.bare && ready.length > 0
    const hands = this.#toHands(isBare ? await events.fetchByIds(ready.map(({ id }) => id)) : ready)
    return { hands, more, note: hands.length === rows.length ? note : undefined }
  }

  #toHands(rows: readonly StoredEvent[]): EventInHand[] {
    return rows.flatMap((row) => {
      const epoch = this.#epochs.get(row.bucket)
      if (epoch === undefined) return []
      return [toHand(row, epoch, this.#parts.definitions, this.#tellUnread)]
    })
  }

  #stillOurs(hands: readonly EventInHand[]): EventInHand[] {
    return hands.filter(({ row, epoch }) => this.#epochs.get(row.bucket) === epoch)
  }
}
