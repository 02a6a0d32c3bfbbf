import type { MikroORM } from '@mikro-orm/core'
import { DataAccessError } from '../errors.ts'
import type { Clock } from '../kernel/clock.ts'
import type { Logger } from '../kernel/logger.ts'
import { checkOptions, numberFrom } from '../kernel/options.ts'
import { DeadLetters } from './dead-letters.ts'
import { type DoctorFinding, examine } from './doctor/doctor.ts'
import type { DoctorOptions } from './doctor/doctor-check.ts'
import type { EventDefinitions } from './event/event-definitions.ts'
import type { Publisher } from './publishing/publisher.ts'
import type { TransactionGuard } from './relay/outside-transaction.ts'
import { Relay } from './relay/relay.ts'
import { deadlineExpected, stopDeadlineMs } from './relay/relay-deadline.ts'
import type { RelayOptions } from './relay/relay-options.ts'
import type { Wake } from './relay/wake.ts'
import { type OutboxStats, readOutboxStats } from './store/outbox-stats.ts'
import { OutboxStore } from './store/outbox-store.ts'
import { longestKeepMs, pruneBatch, pruneFailures, prunePublished } from './store/retention.ts'

/** What an {@link Outbox} works with. */
export interface OutboxParts {
  readonly orm: MikroORM
  readonly guard: TransactionGuard
  /** Rung after each commit that stored events. */
  readonly wake: Wake
  /** The listed events; payloads of others are read as plain JSON. */
  readonly definitions: EventDefinitions
  readonly clock: Clock
  readonly logger: Logger
}

/** The stored domain events and what moves them on: `data.outbox`. */
export class Outbox {
  readonly #parts: OutboxParts
  readonly #store: OutboxStore
  /** Events that left the outbox unpublished. */
  readonly deadLetters: DeadLetters
  /** The publishers that its relays were given. */
  readonly #publishers = new Set<Publisher>()
  #running: { readonly relay: Relay; readonly finish: (deadlineMs: number) => Promise<void> } | undefined

  /** @internal */
  constructor(parts: OutboxParts) {
    this.#parts = parts
    this.#store = new OutboxStore(parts.orm)
    this.deadLetters = new DeadLetters(this.#store, () => parts.wake.ring())
  }

  /**
   * Makes a relay; nothing runs before its `start()` or `drain()`. One at a time may run on a data access; any number may run
   * in other processes, all with a publisher of the same name. The publisher belongs to this data access from now on:
   * `data.close()` closes it, after the relay has stopped.
   *
   * @throws DataAccessError `OPTION_INVALID`.
   */
  relay(options: RelayOptions): Relay {
    const relay = new Relay({ ...this.#parts, store: this.#store, enter: (relay, finish) => this.#enter(relay, finish) }, options)
    if (typeof options.publisher !== 'function') this.#publishers.add(options.publisher)
    return relay
  }

  /**
   * Reads backlog, lag, blocked keys, dead letters and relays from the database, in two statements.
   *
   * @throws DataAccessError `MIGRATION_MISSING`, `PERMISSION_DENIED`; `CLOSED`, unless the ORM is your own; what else the database throws.
   */
  stats(): Promise<OutboxStats> {
    return readOutboxStats(this.#store)
  }

  /**
   * Looks for what makes an outbox slow or stuck, and says what to do about it: one finding for each check, also for those that
   * are well. Takes at most `timeoutMs` and changes nothing. What fails is a finding too.
   *
   * @throws DataAccessError `OPTION_INVALID`; `CLOSED`, unless the ORM is your own.
   */
  async doctor(options?: DoctorOptions): Promise<DoctorFinding[]> {
    const { orm, wake, clock } = this.#parts
    return examine({ orm, store: this.#store, wake, clock }, options)
  }

  /**
   * Deletes events that were published longer ago than `keepMs` milliseconds, in small transactions; resolves to how many. The
   * failures of events that are no longer pending go too. A relay with `retention: { keepMs }` does it by itself.
   *
   * @throws DataAccessError `OPTION_INVALID`, also for more than ten years; `MIGRATION_MISSING`; what the database throws.
   */
  async prune(options: { readonly keepMs: number }): Promise<number> {
    checkOptions({ door: 'prune' }, options, { keepMs: numberFrom(0, longestKeepMs, ' milliseconds') })
    const { keepMs } = options
    if (keepMs === undefined) throw new DataAccessError('OPTION_INVALID', 'prune needs keepMs; give 0 or more milliseconds')
    let sum = 0
    let pruned: number
    do {
      pruned = await prunePublished(this.#store, keepMs)
      sum += pruned
    } while (pruned === pruneBatch)
    while ((await pruneFailures(this.#store)) === pruneBatch);
    return sum
  }

  /**
   * Stops the relay that runs or drains, if one does; for `data.close()`. What is in hand after `deadline` milliseconds, 10,000 by default, is
   * dropped, and comes again. Beside a stop that is on its way it waits for the same end, at the earlier deadline of the two.
   *
   * @throws DataAccessError `OPTION_INVALID`.
   */
  async stop(options: { readonly deadline?: number | undefined } = {}): Promise<void> {
    checkOptions({ door: 'outbox.stop' }, options, { deadline: deadlineExpected })
    const { deadline = stopDeadlineMs } = options
    await this.#running?.finish(deadline)
  }

  /** Closes the publishers that its relays were given; for `data.close()`, once nothing publishes any more. Never rejects. */
  async closePublishers(): Promise<void> {
    await Promise.all(
      [...this.#publishers].map(async (publisher) => {
        try {
          await publisher.close?.()
        } catch (error) {
          this.#parts.logger.error(`Publisher "${publisher.name}" could not be closed`, { error })
        }
      }),
    )
  }

  #enter(relay: Relay, finish: (deadlineMs: number) => Promise<void>): () => void {
    if (this.#running !== undefined) {
      throw new DataAccessError(
        'RELAY_ALREADY_RUNNING',
        `Relay "${this.#running.relay.status().name}" already runs on this data access; stop it first, or start the other in another process`,
      )
    }
    const running = { relay, finish }
    this.#running = running
    return () => {
      if (this.#running === running) this.#running = undefined
    }
  }
}
