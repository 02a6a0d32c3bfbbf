import { v7 as uuidv7 } from 'uuid'
import type { Clock } from '../../kernel/clock.ts'
import type { Logger } from '../../kernel/logger.ts'
import type { EventDefinitions } from '../event/event-definitions.ts'
import type { OutboxEvent, Outcome } from '../publishing/publisher.ts'
import { EventStore } from '../store/event-store.ts'
import { LeaseStore } from '../store/lease-store.ts'
import type { OutboxStore } from '../store/outbox-store.ts'
import { ProgressStore } from '../store/progress-store.ts'
import { SettlementStore } from '../store/settlement-store.ts'
import type { SignOfLife } from '../store/sign-of-life.ts'
import { writeThrough } from '../store/write-through.ts'
import { BatchSettler, countsOf, type RelayCounts, type SettledEvent, sumOf } from './batch-settler.ts'
import { BucketLeases } from './bucket-leases.ts'
import { EventReader } from './event-reader.ts'
import type { EventInHand } from './held-event.ts'
import { Outage } from './outage.ts'
import type { RelayListeners } from './relay-events.ts'
import type { RelaySettings } from './relay-options.ts'
import { WavePublisher } from './wave-publisher.ts'
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

const nothing: RelayCounts = { published: 0, retried: 0, deadLettered: 0 }

/** One run of a relay: it holds leases, and publishes one batch with each step. */
export class RelayEngine {
  readonly id = uuidv7()
  readonly leases: BucketLeases
  readonly events: EventStore
  readonly outage: Outage
  readonly #parts: RelayEngineParts
  readonly #progress: ProgressStore
  readonly #reader: EventReader
  readonly #publisher: WavePublisher
  readonly #settler: BatchSettler
  #batch: readonly EventInHand[] = []
  /** Of the batch before, while it is being marked. */
  #unmarked: readonly EventInHand[] = []
  #marking: Promise<RelayCounts> = Promise.resolve(nothing)

  constructor(parts: RelayEngineParts) {
    const { store, settings, definitions, listeners, signOfLife, awaited, clock, logger } = parts
    const settlements = new SettlementStore(store)
    this.events = new EventStore(store)
    this.#progress = new ProgressStore(store)
    this.#parts = parts
    this.leases = new BucketLeases({
      store: new LeaseStore(store),
      clock,
      relay: { id: this.id, name: settings.name, publisher: settings.publisher.name },
      leaseMs: settings.leaseMs,
      publishTimeoutMs: settings.publishTimeoutMs,
      signOfLife,
      noteCrash: (em, { id, inFlight }) => settlements.blameCrash(em, id, inFlight),
      onDead: ({ id, inFlight }) => {
        logger.warn(`Relay ${id} died; its buckets are taken over`, { inFlight: inFlight.length })
      },
      onLost: (buckets) => listeners.tell('leaseLost', { buckets }),
    })
    this.outage = new Outage(clock, listeners, awaited)
    this.#reader = new EventReader({
      relay: this.id,
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
  }

  /** Events in hand at this moment. */
  get inHand(): number {
    return this.#batch.length + this.#unmarked.length
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
    if (this.outage.open) return { kind: 'paused', waitMs: this.outage.waitMs, error: this.outage.error }
    const ahead = await this.#reader.ahead()
    if (ahead === undefined || ahead.hands.length === 0) {
      const counts = await this.marked()
      if (counts.published > 0) return { kind: 'busy', counts }
    }
    // What is not marked yet would be read again; nothing read ahead is no sign that nothing is due: there may be more buckets since.
    const reading = ahead !== undefined && ahead.hands.length > 0 ? ahead : await this.#reader.next()
    const { hands, more, redrives } = reading
    if (hands.length === 0) return more ? { kind: 'busy', counts: nothing } : { kind: 'idle', dueInMs: this.#reader.dueInMs }
    const batch = await this.#reader.choose(hands, this.outage.probing)
    if (batch.length < hands.length) this.#reader.reset()
    // What one that kills is tried behind would come again with each crash.
    if (batch.length < hands.length || batch.some(({ row }) => row.suspect)) await this.#marking
    this.#hold(batch)
    try {
      const whole = batch.length === hands.length
      // A probe is noted as nobody's: while the publisher is away it is always the same event, and killed relays would be blamed
      // on it. One that kills is found by the first try after the restart, which is no probe.
      const known = this.outage.probing ? await this.#note([]) : ((whole ? redrives : undefined) ?? (await this.#note(batch)))
      if (this.#reader.redriven(known)) return { kind: 'busy', counts: await this.marked() }
      return await this.#publish(batch, more && whole, deadline)
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
    const marking = this.#marking
    this.#marking = Promise.resolve(nothing)
    return marking
  }

  /** Forgets what was read ahead: the next step reads anew. */
  reset(): void {
    this.#reader.reset()
  }

  async #publish(batch: readonly EventInHand[], readAhead: boolean, deadline: AbortSignal): Promise<Step> {
    const admission = this.outage.admit()
    if (readAhead) this.#reader.readAhead([...this.#unmarked, ...batch])
    const { tried, untried } = await publishInWaves(
      batch,
      (wave) => this.#publishWave(wave, deadline),
      ({ row, epoch }) => !deadline.aborted && this.leases.epochOf(row.bucket) === epoch && this.leases.safe(row.bucket),
    )
    const settled = this.#settler.decide(tried)
    const pause = settled.find(({ settlement }) => settlement.kind === 'pause')
    // Before anything that the database may fail: a probe whose end is not told would be followed by others without a wait.
    if (pause?.settlement.kind === 'pause') this.outage.began(admission, pause.settlement.error, deadline.aborted)
    // A row that cannot be read was not given to the publisher.
    else if (tried.some(({ event: { event } }) => event !== undefined)) this.outage.ended()
    else this.outage.unused(admission)
    this.#reader.settled(settled, untried)
    const well = untried.length === 0 && settled.every(({ settlement: { kind } }) => kind === 'published')
    // Were this batch marked and the one before not, an event would come again after its successor.
    let counts = await this.marked()
    this.#mark(settled, deadline)
    if (!(well && readAhead)) counts = sumOf(counts, await this.marked())
    // What waits for its next try, for the publisher or for its redrive is in nobody's hand: a crash meanwhile is not its doing.
    if (!well) await this.#note([])
    // Untouched since too little was left of the lease: let the renewal come first.
    if (tried.length === 0) await this.#parts.clock.wait(this.leases.intervalMs / 4, deadline).catch(() => {})
    return { kind: 'busy', counts }
  }

  /** Begins to write down what became of a batch; {@link marked} tells its end. */
  #mark(settled: readonly SettledEvent[], deadline: AbortSignal): void {
    this.#unmarked = settled.map(({ hand }) => hand)
    this.#hold([])
    const write = async () => {
      try {
        const { kept, refused } = await writeThrough({
          write: (again) => this.#settler.write(settled, again),
          worthwhile: () => settled.some(({ hand }) => this.leases.safe(hand.row.bucket)),
          clock: this.#parts.clock,
          deadline,
          onFailure: (error) => this.#parts.logger.warn('The relay could not mark what it published; it tries again', { error }),
        })
        if (refused.length > 0) this.#refused(refused)
        this.#settler.tell(kept)
        return countsOf(kept)
      } finally {
        this.#unmarked = []
        this.#hold(this.#batch)
      }
    }
    this.#marking = write()
    this.#marking.catch(() => {})
  }

  /** Resolves to the redrives since the relay registered. */
  #note(batch: readonly EventInHand[]): Promise<number> {
    return this.#progress.noteInFlight(
      this.id,
      batch.map(({ row }) => row.sequence),
    )
  }

  async #publishWave(wave: readonly EventInHand[], deadline: AbortSignal): Promise<Outcome[]> {
    const events = wave.flatMap(({ event }): OutboxEvent[] => (event === undefined ? [] : [event]))
    const outcomes = events.length === 0 ? [] : await this.#publisher.publish(events, deadline)
    let next = 0
    return wave.map(({ event, fault }) => {
      return event === undefined ? { status: 'permanent', error: fault } : (outcomes[next++] as Outcome)
    })
  }

  #hold(batch: readonly EventInHand[]): void {
    this.#batch = batch
    this.leases.hold([...batch, ...this.#unmarked].map(({ row }) => row.bucket))
  }

  /** The buckets are another relay's, whatever our clock says: nothing of them may go out, also not behind what was refused. */
  #refused(hands: readonly EventInHand[]): void {
    for (const { row, epoch } of hands) this.leases.refused(row.bucket, epoch)
    this.#reader.reset()
    this.#parts.listeners.tell('leaseLost', { buckets: [...new Set(hands.map(({ row }) => row.bucket))] })
  }
}
