import type { EntityManager, MikroORM } from '@mikro-orm/core'
import { type CacheChoice, cacheChoiceRequired } from './cache/cache-choice.ts'
import { watchUncached } from './cache/uncached-writes.ts'
import { closeInOrder, endOrm } from './data-access-closing.ts'
import { type DataAccessHealth, type DataAccessStats, type HealthOptions, healthOf } from './data-access-health.ts'
import {
  type AdoptOptions,
  adopts,
  type CacheOption,
  checkDataAccessOptions,
  chooseCache,
  type DataAccessOptions,
  type WakeOption,
} from './data-access-options.ts'
import type { DataAccessUnit } from './data-access-unit.ts'
import { isAlone } from './database/alone.ts'
import { openOrm } from './database/connection.ts'
import { databaseIdentity } from './database/database-identity.ts'
import type { MigrateOptions } from './database/migration-plan.ts'
import { migrate, pendingMigrations } from './database/migrations.ts'
import { poolFigures } from './database/pool-figures.ts'
import { type Dialect, dialectOf } from './database/sql.ts'
import { explainUnknownEntities } from './database/unknown-entity.ts'
import { DataAccessError } from './errors.ts'
import { DataAccessExtension } from './extension.ts'
import { type Clock, monotonicClock } from './kernel/clock.ts'
import { checkOptions, requireFunction } from './kernel/options.ts'
import { Outbox } from './outbox/outbox.ts'
import { deadlineExpected } from './outbox/relay/relay-deadline.ts'
import { type Cache, openCache } from './repository/cached-reads.ts'
import { freshFork } from './unit-of-work/fresh-fork.ts'
import type { UnitOfWorkContext, UnitOfWorkOptions, Work } from './unit-of-work/unit-of-work.ts'
import { UnitRunner } from './unit-of-work/unit-runner.ts'

/**
 * Opens a data access: on embedded defaults without options, on PostgreSQL by `database.url`, or around your own ORM.
 *
 * @throws DataAccessError `OPTION_INVALID`, `DATABASE_URL_INVALID`, `DRIVER_MISSING`, `DRIVER_MISMATCH`, `DATABASE_UNREACHABLE`;
 * `EVENT_DEFINITION_INVALID` for the events of the modules; `ENTITY_UNKNOWN` for a cache of an entity that the ORM does not know;
 * `CACHE_CHOICE_REQUIRED` for an in-process cache without `singleProcess: true` of a database that other processes can open.
 */
export async function createDataAccess<Orm extends MikroORM = MikroORM>(
  options: DataAccessOptions | AdoptOptions<Orm> = {},
): Promise<DataAccess<Orm>> {
  checkDataAccessOptions(options)
  // A missing driver is told now, and not in the log of each read.
  if (options.cache) await options.cache.prepare?.()
  await options.wake?.prepare?.()
  if (adopts(options)) {
    const extension = DataAccessExtension.of(options.orm)
    return extension.adopt(() => new DataAccess(options.orm, extension, options, false))
  }
  const extension = new DataAccessExtension(options, options.database?.pool?.acquireTimeoutMs)
  const orm = await openOrm(options.database ?? {}, {
    extensions: [extension],
    // MikroORM wants to see entities before it asks extensions for theirs.
    entities: extension.entities as never[],
  })
  try {
    return extension.adopt(() => new DataAccess(orm as Orm, extension, options, true))
  } catch (error) {
    await orm.close(true)
    throw error
  }
}

/** Entities, repositories, cache, units of work and outbox of one database, by {@link createDataAccess}. Its types are those of its ORM. */
export class DataAccess<Orm extends MikroORM = MikroORM> {
  /** The ORM behind it: made from `database`, or your own, which `close()` leaves open. */
  readonly orm: Orm
  /** What its driver speaks. */
  readonly dialect: Dialect
  /** The stored domain events and the relays that publish them. */
  readonly outbox: Outbox
  readonly #extension: DataAccessExtension
  readonly #owned: boolean
  readonly #runner: UnitRunner
  readonly #cache: Cache | undefined
  readonly #clock: Clock = monotonicClock
  readonly #running = new Set<Promise<unknown>>()
  #closing: Promise<void> | undefined

  /** @internal Use {@link createDataAccess}. */
  constructor(orm: Orm, extension: DataAccessExtension, options: CacheOption & WakeOption, owned: boolean) {
    const { logger, subscriber, guard, wake, events } = extension
    const clock = this.#clock
    explainUnknownEntities(orm)
    this.orm = orm
    this.dialect = dialectOf(orm)
    this.#extension = extension
    this.#owned = owned
    this.#runner = new UnitRunner({ orm, subscriber, guard, events, clock, logger })
    this.outbox = new Outbox({ orm, guard, wake, definitions: events, clock, logger })
    const choice = chooseCache(orm, options.cache)
    const channel = options.wake?.open({ clock, logger })
    try {
      this.#cache = choice && this.#openCache(choice)
    } catch (error) {
      // Left open it would keep the process alive. Why nothing was opened tells more than a failed close.
      channel?.close().catch(() => {})
      throw error
    }
    // Alone there is nobody whom its writes could leave with old rows.
    const listener = this.#cache?.participant ?? watchUncached(orm, isAlone(orm) ? [] : extension.modules, logger)
    extension.joinCache(listener)
    wake.join(channel)
  }

  /** A fresh entity manager, for reads outside a unit of work; in a `RequestContext` with the request's filters, session and schema. @throws DataAccessError `CLOSED`. */
  fork(): Orm['em'] {
    this.#refuseWhenClosed()
    return freshFork(this.orm) as Orm['em']
  }

  /**
   * Runs work in one transaction: its rows and its recorded events commit together, or none of them do.
   *
   * @throws what the work and the database throw, after rolling back; DataAccessError `OPTION_INVALID`; `TRANSACTION_FORK` for the `em` of
   * an outer unit; `TRANSACTION_ENDED` when its transaction, or the one around it, is over; `TRANSACTION_ABORTED` when the error of a
   * statement or flush was caught inside; `UNIT_RETRIES_EXHAUSTED`; `COMMIT_OUTCOME_UNKNOWN`; `CLOSED`.
   */
  async unitOfWork<Result>(work: Work<Result, DataAccessUnit<Orm>>, options: UnitOfWorkOptions = {}): Promise<Result> {
    // A unit that close() waits for may still divide its own transaction.
    if (!this.#runner.inside) this.#refuseWhenClosed()
    requireFunction('unitOfWork', work)
    const run = (unit: UnitOfWorkContext) => {
      const cached = ((what: never) => this.#requireCache().cached(what, { em: unit.em })) as unknown as Cache['cached']
      return work({ ...unit, cached } as DataAccessUnit<Orm>)
    }
    return this.#track(this.#runner.run(run, options))
  }

  /**
   * The cached reads of an entity that has a policy, or of a cached query. Results are detached and yours to change; with
   * `{ em }` they are managed by it. The lookups by unique properties are known from the policy: `data.cached(userCache)`.
   *
   * @throws DataAccessError `CACHE_CHOICE_REQUIRED`, `CACHE_POLICY_MISSING`, `ENTITY_UNKNOWN`, `OPTION_INVALID`, `CLOSED`.
   */
  readonly cached: Cache['cached'] = ((what: never, options?: { em?: EntityManager }) => {
    this.#refuseWhenClosed()
    return this.#requireCache().cached(what, options)
  }) as unknown as Cache['cached']

  /**
   * Brings the tables up to date, ours and the modules', and expires what is cached if anything ran. Safe to call from several processes at
   * once: the others wait, at most ten minutes. Resolves to the names of the migrations that ran, in order; to none when all had.
   *
   * @throws DataAccessError `MIGRATION_FAILED`, and nothing was changed; `OPTION_INVALID`; `PERMISSION_DENIED`; `CLOSED`; what the database throws.
   */
  async migrate(options: MigrateOptions = {}): Promise<string[]> {
    this.#refuseWhenClosed()
    return this.#track(migrate(this.orm, this.#extension.migrations(this.dialect), options, this.#cache?.participant))
  }

  /** The names of the migrations that have not run on this database, in order; changes nothing. @throws DataAccessError `CLOSED`, `PERMISSION_DENIED`. */
  async pendingMigrations(): Promise<string[]> {
    this.#refuseWhenClosed()
    return pendingMigrations(this.orm, this.#extension.migrations(this.dialect))
  }

  /**
   * Asks the database and the cache whether they answer, each for at most 2 s and Redis for 1 s, and with `migrations` whether all have run.
   * Rejects for no more than a wrong option, with `OPTION_INVALID`. After `close()` nothing is well.
   */
  async health(options: HealthOptions = {}): Promise<DataAccessHealth> {
    const inside = this.dialect === 'sqlite' ? this.#extension.guard.surrounding : undefined
    const [closed, migrations] = [this.#closing !== undefined, this.#extension.migrations(this.dialect)]
    return healthOf({ orm: this.orm, cache: this.#cache, closed, inside, migrations }, options)
  }

  /** The figures of the connection pool, of the units of work, and of the caches, in this process. @throws DataAccessError `CLOSED`. */
  async stats(): Promise<DataAccessStats> {
    this.#refuseWhenClosed()
    const pool = await poolFigures(this.orm, this.#extension.guard.use)
    return { pool, units: this.#runner.counter.read(), ...(this.#cache === undefined ? {} : { cache: this.#cache.stats() }) }
  }

  /**
   * Stops the relay, waits for running units of work, at most `deadline` ms (10,000), then closes the publishers of its relays and what
   * this data access opened. From then on everything throws `CLOSED`, also the commit of a unit that still runs: it is rolled back. Your own
   * ORM stays open, with what still runs in it and what `outbox` reads, and may be given to a new data access. A second call waits for the first.
   *
   * @throws DataAccessError `TRANSACTION_FORK` inside a unit of work, for which it would wait; `OPTION_INVALID`; what a store or wake channel throws at its end.
   */
  async close(options: { readonly deadline?: number | undefined } = {}): Promise<void> {
    checkOptions({ door: 'close' }, options, { deadline: deadlineExpected })
    const inside = 'data.close() inside a unit of work would wait for that unit; call it after the unit'
    if (this.#runner.inside) throw new DataAccessError('TRANSACTION_FORK', inside)
    this.#closing ??= closeInOrder({
      ...{ outbox: this.outbox, running: this.#running, cache: this.#cache, channel: this.#extension.wake.channel },
      ...{ endDatabase: () => this.#endDatabase(), deadline: options.deadline },
    })
    return this.#closing
  }

  /** For `await using`: {@link close} with its default deadline. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #endDatabase(): Promise<void> {
    if (!this.#owned) return this.#extension.release()
    // Before the pool ends, or a query in between would make a new one. A unit that still runs keeps its connection.
    this.#extension.guard.close()
    await endOrm(this.orm)
  }

  #openCache(choice: CacheChoice): Cache {
    const { logger, subscriber, modules, guard } = this.#extension
    const caches = modules.flatMap((module) => module.caches ?? [])
    const scopeOf = (em: EntityManager) => subscriber.scopeOf(em)
    const held = () => this.dialect === 'sqlite' && guard.surrounding !== undefined
    const store = choice.open({ clock: this.#clock, logger, database: () => databaseIdentity(this.orm) })
    return openCache({ orm: this.orm, store, scopeOf, held, sweep: choice.sweep, caches, clock: this.#clock, logger })
  }

  #requireCache(): Cache {
    if (this.#cache === undefined) throw cacheChoiceRequired()
    return this.#cache
  }

  async #track<Result>(promise: Promise<Result>): Promise<Result> {
    this.#running.add(promise)
    try {
      return await promise
    } finally {
      this.#running.delete(promise)
    }
  }

  #refuseWhenClosed(): void {
    if (this.#closing === undefined) return
    throw new DataAccessError('CLOSED', 'This data access was closed; create a new one')
  }
}
