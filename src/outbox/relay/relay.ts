import { type MikroORM, TransactionContext } from '@mikro-orm/core'
import { DataAccessError } from '../../errors.ts'
import { Bell } from '../../kernel/bell.ts'
import type { Clock } from '../../kernel/clock.ts'
import type { Logger } from '../../kernel/logger.ts'
import { checkOptions, numberFrom } from '../../kernel/options.ts'
import { inRootContext } from '../../kernel/root-context.ts'
import { Service, type ServiceState, type StopSignals } from '../../kernel/service.ts'
import { toError } from '../../kernel/thrown-error.ts'
import type { EventDefinitions } from '../event/event-definitions.ts'
import { OutboxStore } from '../store/outbox-store.ts'
import type { RelayRates } from '../store/relay-rates.ts'
import { pruneInBackground } from '../store/retention.ts'
import type { RelayCounts } from './batch-settler.ts'
import { stopDeadlineMs, untilDeadline } from './relay-deadline.ts'
import { RelayEngine } from './relay-engine.ts'
import { type RelayEventName, type RelayEvents, type RelayListeners, relayListeners } from './relay-events.ts'
import { logFailures, warnOfRules } from './relay-log.ts'
import { drainStopped, keepPublishing, publishAllDue, whileHolding } from './relay-loop.ts'
import { type RelayOptions, type RelaySettings, toRelaySettings } from './relay-options.ts'
import { RelayTally } from './relay-tally.ts'
import type { Wake } from './wake.ts'

/** What a {@link Relay} gets from the outbox that makes it. */
export interface RelayParts {
  readonly orm: MikroORM
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

/** What {@link Relay.status} tells. */
export interface RelayStatus extends RelayCounts {
  readonly state: ServiceState
  readonly name: string
  readonly publisher: string
  /** The buckets it holds now. */
  readonly buckets: readonly number[]
  /** Events fetched and not yet marked. */
  readonly inHand: number
  readonly rates: RelayRates
  /** What it waits for, when publisher or database are away. */
  readonly paused: 'publisher' | 'database' | undefined
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

  /** @internal */
  constructor(parts: RelayParts, options: RelayOptions) {
    this.#parts = parts
    this.#settings = toRelaySettings(options)
    this.#listeners = relayListeners(parts.logger)
    this.#tally = new RelayTally(this.#listeners, parts.clock)
    logFailures(this.#listeners, parts.logger)
    warnOfRules(this.#settings.rules, parts.definitions, parts.logger)
    this.#service = new Service((signals) => this.#run(signals), parts.clock)
  }

  /**
   * Starts to publish and resolves once it runs; does nothing when it runs already, and waits for a start that is on its way. A
   * relay that turns out to have started beside an older one with another publisher ends by itself: it logs
   * `RELAY_PUBLISHER_MISMATCH`, and its state is `stopped`.
   *
   * @throws DataAccessError `RELAY_ALREADY_RUNNING` when another relay of this data access runs or drains;
   * `RELAY_PUBLISHER_MISMATCH`; `TRANSACTION_FORK` inside a transaction; `MIGRATION_MISSING`; what the publisher's `prepare()` and
   * the database throw.
   */
  async start(): Promise<this> {
    if (this.#service.state === 'running') return this
    this.#refuseInTransaction('start')
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
   * @throws DataAccessError `PUBLISHER_FAILED` when the publisher was away three times in a row; `RELAY_ALREADY_RUNNING`;
   * `TRANSACTION_FORK` inside a transaction; `CLOSED` when it was stopped, with the counts as its context; the signal's reason, for
   * an aborted signal drops the batch at once; what the publisher's `prepare()` throws.
   */
  async drain(options: { readonly signal?: AbortSignal | undefined } = {}): Promise<RelayCounts> {
    const signals = { words: 'an AbortSignal', fits: (value: unknown) => value instanceof AbortSignal }
    checkOptions({ door: 'relay.drain' }, options, { signal: signals })
    const { signal } = options
    this.#refuseInTransaction('drain')
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
   * @throws DataAccessError `OPTION_INVALID`.
   */
  async stop(options: { readonly deadline?: number | undefined } = {}): Promise<void> {
    checkOptions({ door: 'relay.stop' }, options, { deadline: numberFrom(0, 86_400_000, ' milliseconds') })
    const { deadline = stopDeadlineMs } = options
    await this.#starting?.catch(() => {})
    await (this.#draining ?? this.#service).stop(deadline)
  }

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
      state: this.#service.state,
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
    const exit = this.#parts.enter(this, async (deadlineMs) => {
      await this.#starting?.catch(() => {})
      await this.#service.finish(deadlineMs)
    })
    try {
      await inRootContext(() => this.#open())
    } catch (error) {
      exit()
      throw error
    }
    this.#service.start()
    const told = (error: unknown) => this.#parts.logger.error(`The relay ended: ${toError(error).message}`, { error })
    this.#service.ended.catch(told).finally(exit)
  }

  async #open(): Promise<RelayEngine> {
    await this.#settings.publisher.prepare?.()
    const { orm, definitions, clock, logger } = this.#parts
    const engine = new RelayEngine({
      store: new OutboxStore(orm, this.#settings.answerMs),
      definitions,
      clock,
      logger,
      settings: this.#settings,
      listeners: this.#listeners,
      rates: () => this.#tally.rates,
    })
    await engine.events.check()
    await engine.leases.join()
    this.#engine = engine
    return engine
  }

  async #run(signals: StopSignals): Promise<void> {
    const engine = this.#engine as RelayEngine
    const { clock, logger, wake, store } = this.#parts
    const { poll, keepMs } = this.#settings
    const bell = new Bell(clock)
    const unsubscribe = wake.subscribe(() => bell.ring())
    const ended = new AbortController()
    const pruning = pruneInBackground({ store, keepMs, clock, logger, signal: ended.signal })
    const parts = { engine, bell, clock, logger, poll, wake, listeners: this.#listeners }
    try {
      await whileHolding({ engine, bell, clock, logger }, signals, (signals) => keepPublishing(parts, signals))
    } catch (error) {
      if (!signals.deadline.aborted) throw error
    } finally {
      this.#engine = undefined
      unsubscribe()
      ended.abort()
      await untilDeadline(pruning, signals.deadline, clock).catch(() => {})
    }
  }

  async #drain(stop: StopSignals, given = new AbortController().signal): Promise<RelayCounts> {
    given.throwIfAborted()
    const { clock, logger } = this.#parts
    const engine = await this.#open()
    const signals = { stopping: AbortSignal.any([given, stop.stopping]), deadline: AbortSignal.any([given, stop.deadline]) }
    const parts = { engine, clock, settings: this.#settings }
    try {
      const held = { engine, bell: new Bell(clock), clock, logger }
      return await whileHolding(held, signals, (signals) => publishAllDue(parts, signals))
    } catch (error) {
      given.throwIfAborted()
      throw error === stop.deadline.reason ? drainStopped() : error
    } finally {
      this.#engine = undefined
    }
  }

  #refuseInTransaction(door: 'start' | 'drain'): void {
    const ambient = TransactionContext.currentTransactionContext()?.em
    if (ambient === undefined || ambient.getDriver() !== this.#parts.orm.driver) return
    const transaction = ambient.getTransactionContext() as { isCommitted: boolean; isRolledBack: boolean } | undefined
    if (transaction === undefined || transaction.isCommitted || transaction.isRolledBack) return
    throw new DataAccessError(
      'TRANSACTION_FORK',
      `${door}() was called inside a transaction, whose events do not exist yet and whose locks it may wait for; call it after the unit of work`,
    )
  }
}
