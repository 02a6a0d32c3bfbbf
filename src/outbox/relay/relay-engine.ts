import { v7 as uuidv7 } from 'uuid'
import type { Clock } from '../../kernel/clock.ts'
import type { Logger } from '../../kernel/logger.ts'
import type { EventDefinitions } from '../event/event-definitions.ts'
import { EventStore } from '../store/event-store.ts'
import { LeaseStore } from '../store/lease-store.ts'
import type { OutboxStore } from '../store/outbox-store.ts'
import { ProgressStore } from '../store/progress-store.ts'
import { RelayMarks, type RelayNote } from '../store/relay-marks.ts'
import { SettlementStore } from '../store/settlement-store.ts'
import type { SignOfLife } from '../store/sign-of-life.ts'
import { BatchChoice } from './batch-choice.ts'
import { BatchMarker } from './batch-marker.ts'
import { BatchSettler, pauseOf, type RelayCounts, sumOf } from './batch-settler.ts'
import { BucketLeases } from './bucket-leases.ts'
import type { EventInHand } from './event-in-hand.ts'
import { EventReader } from './event-reader.ts'
import { DatabaseOutage, Outage } from './outage.ts'
import type { RelayListeners } from './relay-events.ts'
import { logTakeovers } from './relay-log.ts'
import type { RelaySettings } from './relay-options.ts'
import { publishWave, WavePublisher } from './wave-publisher.ts'
import { publishInWaves } from './waves.ts'

/** What a {@link RelayEngine} works with. */
export interface RelayEngineParts {
  readonly store: OutboxStore
  readonly settings: RelaySettings
  readonly definitions: EventDefinitions
  readonly listeners: RelayListeners
  /** What the relay tells the others with its signs of life. */
  readonly signOfLife: () => SignOfLife
  /** The publisher was away when a run before this one ended, and nobody was told that it is back. */
  readonly awaited?: boolean
  /** How often a mark is tried; without it, while the leases hold. */
  readonly markTries?: number | undefined
  readonly clock: Clock
  readonly logger: Logger
}

/** What one step of a relay came to. */
export type Step =
  /** It published, or there is more to read at once. */
  | { readonly kind: 'busy'; readonly counts: RelayCounts }
  /** Nothing is due; the next known moment is in so many milliseconds. */
  | { readonly kind: 'idle'; readonly dueInMs: number }
  /** The publisher is away; ask again in so many milliseconds. */
  | { readonly kind: 'paused'; readonly waitMs: number; readonly error: unknown }

/**
 * A batch begins no wave after so many ms: keys that are not in it would wait for the last event of the deepest. After ten times as long as
 * its reading took, if that is more, since the next one reads past that backlog.
 */
const turnMs = 1000
const turnPerReading = 10

const nothing: RelayCounts = { published: 0, retried: 0, deadLettered: 0 }

/** One run of a relay: it holds leases, and publishes one batch with each step. */
export class RelayEngine {
  readonly id = uuidv7()
  readonly store: OutboxStore
  readonly leases: BucketLeases
  readonly events: EventStore
  readonly outage: Outage
  readonly database: DatabaseOutage
  readonly #parts: RelayEngineParts
  readonly #progress: ProgressStore
  readonly #choice: BatchChoice
  readonly #reader: EventReader
  readonly #publisher: WavePublisher
  readonly #settler: BatchSettler
  readonly #marks = new RelayMarks(this.id)
  /** Marks the batch before. */
  readonly #marker: BatchMarker
  #batch: readonly EventInHand[] = []

  constructor(parts: RelayEngineParts) {
    const { store, settings, definitions, listeners, signOfLife, awaited, clock, logger } = parts
    const settlements = new SettlementStore(store)
    this.store = store
    this.events = new EventStore(store)
    this.#choice = new BatchChoice(this.events, settlements)
    this.#progress = new ProgressStore(store, this.#marks)
    this.#parts = parts
    this.leases = new BucketLeases({
      store: new LeaseStore(store),
      clock,
      relay: { id: this.id, name: settings.name, publisher: settings.publisher.name },
      leaseMs: settings.leaseMs,
      publishTimeoutMs: settings.publishTimeoutMs,
      signOfLife,
      noteCrash: (em, { id, inFlight }) => settlements.blameCrash(em, id, inFlight),
      ...logTakeovers(logger),
      onLost: (buckets) => listeners.tell('leaseLost', { buckets }),
    })
    this.outage = new Outage(clock, listeners, awaited)
    this.database = new DatabaseOutage(listeners)
    this.#reader = new EventReader({
      marks: this.#marks,
      events: this.events,
      progress: this.#progress,
      settlements,
      settings,
      definitions,
      clock,
      logger,
      leases: this.leases,
    })
    this.#publisher = new WavePublisher(settings.publisher, settings.publishTimeoutMs, clock)
    this.#settler = new BatchSettler(this.#progress, settlements, settings, listeners)
    this.#marker = new BatchMarker({
      settler: this.#settler,
      marks: this.#marks,
      leases: this.leases,
      reader: this.#reader,
      database: this.database,
      listeners,
      clock,
      tries: parts.markTries,
      onEnd: () => this.#hold(this.#batch),
    })
  }

  /** Events in hand at this moment. */
  get inHand(): number {
    return this.#batch.length + this.#marker.hands.length
  }

  /** The buckets that the last step looked at; those that are leased may have become more since. */
  get bucketsRead(): readonly number[] {
    return this.#reader.buckets
  }

  /**
   * Publishes one batch: fetch, waves, mark. A full one is marked while the next is published, which is read meanwhile.
   *
   * @param deadline aborts when the relay must stop now.
   * @throws what the database throws; what was published and not marked then is published again.
   */
  async step(deadline: AbortSignal): Promise<Step> {
    const { waitMs, error } = this.outage
    if (waitMs > 0) return { kind: 'paused', waitMs, error }
    let { undoings } = this.#marks
    const ahead = await this.#reader.ahead()
    if (ahead === undefined || ahead.hands.length === 0) {
      const counts = await this.marked()
      if (counts.published > 0) return { kind: 'busy', counts }
      undoings = this.#marks.undoings
    }
    // What is not marked yet would be read again; nothing read ahead is no sign that nothing is due: there may be more buckets since.
    const reading = ahead !== undefined && ahead.hands.length > 0 ? ahead : await this.#reader.next()
    const { hands, more } = reading
    if (hands.length === 0) return more ? { kind: 'busy', counts: nothing } : this.#idle()
    const { batch, waiting } = await this.#choice.choose(hands, this.outage.probing)
    this.#reader.park(waiting)
    if (batch.length < hands.length) this.#reader.reset()
    // What one that kills is tried behind would come again with each crash.
    if (batch.length < hands.length || batch.some(({ row }) => row.suspect)) await this.#marker.ended()
    this.#hold(batch)
    try {
      const whole = batch.length === hands.length
      // A probe is noted as nobody's: while the publisher is away it is always the same event, and killed relays would be blamed
      // on it. One that kills is found by the first try after the restart, which is no probe.
      const { known } = this.#marks
      const note = this.outage.probing ? await this.#note([]) : ((whole ? reading.note : undefined) ?? (await this.#note(batch)))
      if (this.#reader.outdated(note, known) || undoings !== this.#marks.undoings) return await this.#forget()
      return await this.#publish(batch, more && whole, undoings, deadline)
    } finally {
      this.#hold([])
    }
  }

  /**
   * Waits until all that was published is marked; resolves to the counts of what no step has told.
   *
   * @throws what the database throws.
   */
  async marked(): Promise<RelayCounts> {
    return this.#marker.marked()
  }

  /** Forgets what was read ahead, and how far: the next step reads anew. */
  reset(): void {
    this.#reader.forget()
  }

  #idle(): Step {
    // Another relay may have published what this one waited with: no probe would tell.
    if (this.#reader.buckets.length > 0) this.outage.nothingWaits()
    return { kind: 'idle', dueInMs: this.#reader.dueInMs }
  }

  /** What was read waits for what comes before it. */
  async #forget(counts?: RelayCounts): Promise<Step> {
    this.#reader.reset()
    return { kind: 'busy', counts: counts ?? (await this.marked()) }
  }

  /** @param undoings how often marks had been found undone when the batch was read. */
  async #publish(batch: readonly EventInHand[], readAhead: boolean, undoings: number, deadline: AbortSignal): Promise<Step> {
    if (readAhead) this.#reader.readAhead([...this.#marker.hands, ...batch])
    const over = this.#parts.clock.now() + Math.max(turnMs, turnPerReading * this.#reader.readingMs)
    const admit = ({ row, epoch }: EventInHand) =>
      !deadline.aborted && this.leases.epochOf(row.bucket) === epoch && this.leases.safe(row.bucket)
    const { tried, untried, late } = await publishInWaves(
      batch,
      (wave) => publishWave(wave, this.#publisher, admit, deadline),
      admit,
      () => this.#parts.clock.now() < over,
    )
    this.#reader.park(late)
    const settled = this.#settler.decide(tried)
    const pause = pauseOf(settled)
    // Before anything that the database may fail: a probe whose end is not told would be followed by others without a wait.
    if (pause !== undefined) this.outage.began(pause.error, deadline.aborted, pause.afterMs)
    // A row that cannot be read was not given to the publisher.
    else if (tried.some(({ event: { event } }) => event !== undefined)) this.outage.ended()
    this.#reader.settled(settled, untried)
    const well = untried.length === 0 && settled.every(({ settlement: { kind } }) => kind === 'published')
    // Were this batch marked and the one before not, an event would come again after its successor.
    let counts = await this.marked()
    // What lost its mark meanwhile comes again, and this batch behind it: were it marked, the other would be the last to come.
    if (undoings !== this.#marks.undoings) return await this.#forget(counts)
    this.#marker.begin(settled, deadline)
    this.#hold([])
    if (!(well && readAhead)) counts = sumOf(counts, await this.marked())
    // What waits for its next try, for the publisher or for its redrive is in nobody's hand: a crash meanwhile is not its doing.
    if (!well) await this.#note([])
    // Untouched since too little was left of the lease: let the renewal come first.
    if (tried.length === 0) await this.#parts.clock.wait(this.leases.intervalMs / 4, deadline).catch(() => {})
    return { kind: 'busy', counts }
  }

  #note(batch: readonly EventInHand[]): Promise<RelayNote> {
    return this.#progress.noteInFlight(
      this.id,
      batch.map(({ row }) => row.sequence),
    )
  }

  #hold(batch: readonly EventInHand[]): void {
    this.#batch = batch
    this.leases.hold([...batch, ...this.#marker.hands].map(({ row }) => row.bucket))
  }
}
