import type { MikroORM } from '@mikro-orm/core'
import { Bell } from '../../kernel/bell.ts'
import type { Clock } from '../../kernel/clock.ts'
import type { Logger } from '../../kernel/logger.ts'
import { checkOptions } from '../../kernel/options.ts'
import { Service, type StopSignals } from '../../kernel/service.ts'
import { toError } from '../../kernel/thrown-error.ts'
import type { EventDefinitions } from '../event/event-definitions.ts'
import { OutboxStore } from '../store/outbox-store.ts'
import { pruneInBackground } from '../store/retention.ts'
import type { RelayCounts } from './batch-settler.ts'
import { DrainWait } from './drain-wait.ts'
import { openEngine, startStopped } from './open-engine.ts'
import { requireNoTransaction, type TransactionGuard } from './outside-transaction.ts'
import { deadlineExpected, stopDeadlineMs, untilDeadline } from './relay-deadline.ts'
import type { RelayEngine } from './relay-engine.ts'
import { type RelayEventName, type RelayEvents, type RelayListeners, relayListeners } from './relay-events.ts'
import { logFailures, logPauses, warnOfNameless, warnOfRules } from './relay-log.ts'
import { drainMarkTries, drainStopped, keepPublishing, publishAllDue, whileHolding } from './relay-loop.ts'
import { type RelayOptions, type RelaySettings, toRelaySettings } from './relay-options.ts'
import type { RelayStatus } from './relay-status.ts'
import { RelayTally } from './relay-tally.ts'
import type { Wake } from './wake.ts'

/** What a {@link Relay} gets from the outbox that makes it. */
export interface RelayParts {
  readonly orm: MikroORM
  readonly guard: TransactionGuard
  readonly store: OutboxStore
  readonly wake: Wake
  readonly definitions: EventDefinitions
  readonly clock: Clock
  readonly logger: Logger
  /**
   * Throws when another relay of this data access runs; the function returned tells that this one has ended.
   *
   * @param finish ends it for `data.close()`: beside a stop it waits, as no second call of it.
   */
  readonly enter: (relay: Relay, finish: (deadlineMs: number) => Promise<void>) => () => void
}

/**
 * Publishes stored events in the order of their keys, marks them, and tries again what failed. Any number of relays, in any
 * number of processes, share the work. Made by `data.outbox.relay()`; nothing runs before `start()` or `drain()`.
 */
export class Relay {
  readonly #parts: RelayParts
  readonly #settings: RelaySettings
  readonly #listeners: RelayListeners
  readonly #tally: RelayTally
  readonly #service: Service
  #draining: Service | undefined
  #engine: RelayEngine | undefined
  #starting: Promise<void> | undefined
  /** What a start waits for, while it does. */
  #opening: PromiseWithResolvers<void> | undefined

  /** @internal */
  constructor(parts: RelayParts, options: RelayOptions) {
    this.#parts = parts
    this.#settings = toRelaySettings(options)
    this.#listeners = relayListeners(parts.logger)
    this.#tally = new RelayTally(this.#listeners, parts.clock)
    logFailures(this.#listeners, parts.logger)
    logPauses(this.#listeners, this.#settings, parts.logger)
    warnOfRules(this.#settings.rules, parts.definitions, parts.logger)
    this.#service = new Service((signals) => this.#run(signals), parts.clock)
  }

  /**
   * Starts to publish and resolves once it runs; does nothing when it runs already, and waits for a start that is on its way. A
   * relay that turns out to have started beside an older one with another publisher ends by itself: it logs
   * `RELAY_PUBLISHER_MISMATCH`, and its state is `stopped`.
   *
   * @throws DataAccessError `RELAY_ALREADY_RUNNING` when another relay of this data access runs or drains;
   * `RELAY_PUBLISHER_MISMATCH`; `TRANSACTION_FORK` inside a transaction; `MIGRATION_MISSING`; `CLOSED` when it was stopped before it
   * ran; what the publisher's `prepare()` and the database throw.
   */
  async start(): Promise<this> {
    if (this.#starting === undefined && this.#service.state === 'running') return this
    requireNoTransaction(this.#parts.guard, 'start')
    this.#starting ??= this.#start().finally(() => {
      this.#starting = undefined
    })
    await this.#starting
    return this
  }

  /**
   * Publishes all that is due now and resolves to how many events went which way; for scripts and tests. Events that fail and
   * wait for their next try are not due. What another relay has in hand is waited for. `stop()` and `data.close()` end it as they
   * end a relay, once the batch in hand is published and marked: it rejects then, for what it did not look at may be due.
   *
   * @throws DataAccessError `PUBLISHER_FAILED` when the publisher was away three times in a row, or when for the length of a lease what was
   * due lay only with other relays that are paused; `RELAY_ALREADY_RUNNING`, `RELAY_PUBLISHER_MISMATCH`, `MIGRATION_MISSING`, `OPTION_INVALID`;
   * `TRANSACTION_FORK` inside a transaction; `CLOSED` when it was stopped, with the counts as its context; the signal's reason, for
   * an aborted signal drops the batch at once; what the publisher's `prepare()` and the database throw.
   */
  async drain(options: { readonly signal?: AbortSignal | undefined } = {}): Promise<RelayCounts> {
    const signals = { words: 'an AbortSignal', fits: (value: unknown) => value instanceof AbortSignal }
    checkOptions({ door: 'relay.drain' }, options, { signal: signals })
    const { signal } = options
    requireNoTransaction(this.#parts.guard, 'drain')
    const counts = Promise.withResolvers<RelayCounts>()
    const draining = new Service((signals) => this.#drain(signals, signal).then(counts.resolve, counts.reject), this.#parts.clock)
    const exit = this.#parts.enter(this, (deadlineMs) => draining.finish(deadlineMs))
    this.#draining = draining
    draining.start()
    try {
      return await counts.promise
    } finally {
      this.#draining = undefined
      exit()
    }
  }

  /**
   * Publishes and marks what is in hand, gives the buckets back, and resolves. After `deadline` milliseconds (default 10,000),
   * or with a second call, what is in hand is dropped: it is published again, with the same ids. Safe before the start.
   *
   * @throws DataAccessError `OPTION_INVALID`; `TRANSACTION_FORK` inside a transaction; `RELAY_PUBLISHER_MISMATCH` when that ends it meanwhile.
   */
  async stop(options: { readonly deadline?: number | undefined } = {}): Promise<void> {
    checkOptions({ door: 'relay.stop' }, options, { deadline: deadlineExpected })
    const { deadline = stopDeadlineMs } = options
    requireNoTransaction(this.#parts.guard, 'stop')
    await (this.#draining ?? this.#service).stop(deadline)
  }

  /** For `await using`: {@link stop} with its default deadline. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  /**
   * Listens to what the relay does; the function returned ends it. Listeners run in the relay: keep them short.
   *
   * @throws DataAccessError `OPTION_INVALID` for an event that a relay never tells, or no function.
   */
  on<Name extends RelayEventName>(name: Name, listener: (event: RelayEvents[Name]) => void): () => void {
    return this.#listeners.on(name, listener)
  }

  /** Tells what the relay does at this moment, and what it has done since it was made. Asks nobody. */
  status(): RelayStatus {
    return {
      state: this.#opening === undefined ? this.#service.state : 'idle',
      name: this.#settings.name,
      publisher: this.#settings.publisher.name,
      buckets: this.#engine?.leases.buckets ?? [],
      inHand: this.#engine?.inHand ?? 0,
      rates: this.#tally.rates,
      paused: this.#tally.paused,
      ...this.#tally.counts,
    }
  }

  async #start(): Promise<void> {
    const exit = this.#parts.enter(this, (deadlineMs) => this.#service.finish(deadlineMs))
    const opening = Promise.withResolvers<void>()
    this.#opening = opening
    this.#service.start()
    const told = (error: unknown) => this.#parts.logger.error(`The relay ended: ${toError(error).message}`, { error })
    const ended = this.#service.ended.catch(told).finally(exit)
    try {
      await opening.promise
    } catch (error) {
      await ended
      throw error
    }
  }

  /** Registers, and tells that the database is back which was away when the relay ran last. */
  async #open(signals: StopSignals, markTries?: number): Promise<RelayEngine> {
    const { orm, definitions, clock, logger } = this.#parts
    const store = new OutboxStore(orm, this.#settings.answerMs)
    const own = { settings: this.#settings, listeners: this.#listeners, awaited: this.#tally.awaited.has('publisher') }
    this.#engine = await openEngine(
      { store, definitions, clock, logger, markTries, ...own, signOfLife: () => this.#tally },
      signals,
    )
    if (this.#tally.awaited.has('database')) this.#listeners.tell('resumed', { cause: 'database' })
    return this.#engine
  }

  /** A start that fails is told to whoever awaits it, and is no failure of a relay that runs. */
  async #opened(signals: StopSignals): Promise<RelayEngine | undefined> {
    const opening = this.#opening
    try {
      const engine = await this.#open(signals)
      opening?.resolve()
      return engine
    } catch (error) {
      opening?.reject(error === signals.stopping.reason ? startStopped() : error)
    } finally {
      this.#opening = undefined
    }
  }

  async #run(signals: StopSignals): Promise<void> {
    const engine = await this.#opened(signals)
    if (engine === undefined) return
    const { orm, clock, logger, wake, store } = this.#parts
    warnOfNameless(this.#settings, orm, logger)
    const { poll, keepMs } = this.#settings
    const bell = new Bell(clock)
    const unsubscribe = wake.subscribe(() => bell.ring())
    const ended = new AbortController()
    const pruning = pruneInBackground({ store, keepMs, clock, logger, signal: ended.signal })
    const parts = { engine, bell, clock, logger, poll, wake }
    try {
      await whileHolding({ engine, bell, clock, logger }, signals, (signals) => keepPublishing(parts, signals))
    } catch (error) {
      if (!signals.deadline.aborted) throw error
    } finally {
      this.#ended()
      unsubscribe()
      ended.abort()
      await untilDeadline(pruning, signals.deadline, clock).catch(() => {})
    }
  }

  async #drain(stop: StopSignals, given = new AbortController().signal): Promise<RelayCounts> {
    const { clock, logger } = this.#parts
    const signals = { stopping: AbortSignal.any([given, stop.stopping]), deadline: AbortSignal.any([given, stop.deadline]) }
    try {
      given.throwIfAborted()
      const engine = await this.#open(signals, drainMarkTries)
      const { store } = engine
      const wait = new DrainWait({ store, engine, clock, logger, leaseMs: this.#settings.leaseMs })
      const parts = { engine, clock, logger, settings: this.#settings, wait }
      return await whileHolding(parts, signals, (signals) => publishAllDue(parts, signals))
    } catch (error) {
      given.throwIfAborted()
      throw error === stop.deadline.reason || error === stop.stopping.reason ? drainStopped() : error
    } finally {
      this.#ended()
    }
  }

  /** What does not run waits for nothing. */
  #ended(): void {
    this.#engine = undefined
    this.#tally.goesOn()
  }
}
