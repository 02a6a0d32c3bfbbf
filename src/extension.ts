import type { EntityName, MikroORM } from '@mikro-orm/core'
import { prepareToListen } from './cache/orm-hooks.ts'
import { cacheTables } from './cache/tables.ts'
import type { CommitParticipant } from './database/commit-participant.ts'
import { ConnectionGuard } from './database/connection-guard.ts'
import { refuseOtherCore } from './database/core-copies.ts'
import { refuseNoTransactions } from './database/implicit-transactions.ts'
import { KnownTables } from './database/known-tables.ts'
import { writeLiteralsAtOnce } from './database/literals.ts'
import { refuseSameNames } from './database/migration-plan.ts'
import { hideRoutines } from './database/own-routines.ts'
import { watchQueries } from './database/query-watch.ts'
import { watchViews } from './database/row-views.ts'
import type { Dialect } from './database/sql.ts'
import { TransactionSubscriber } from './database/transaction-subscriber.ts'
import { DataAccessError } from './errors.ts'
import { consoleLogger, type Logger, loggerExpected, steadyLogger } from './kernel/logger.ts'
import { checkOptions, type KnownOptions, list } from './kernel/options.ts'
import { checkModules, type DataModule } from './module.ts'
import { EventDefinitions } from './outbox/event/event-definitions.ts'
import { EventRecorder } from './outbox/event/recorder.ts'
import { Wake } from './outbox/relay/wake.ts'
import { outboxTables } from './outbox/store/tables.ts'
import { CommitHookRunner } from './unit-of-work/commit-hooks.ts'

/** The name under which an ORM's configuration holds our extension. */
const extensionKey = '@innovateai/data-access'

/** What {@link dataAccess} takes. */
export interface DataAccessExtensionOptions {
  /** The domains' entities, migrations, events and caches, with names that are unique among them. Default: none. */
  readonly modules?: readonly DataModule[] | undefined
  /** Where warnings and errors go. Default: standard error. */
  readonly logger?: Logger | undefined
}

/** The options of {@link dataAccess}, for the check of whoever takes them too. */
export const extensionOptions: KnownOptions<DataAccessExtensionOptions> = { modules: list, logger: loggerExpected }

/** What `extensions` of `MikroORM.init()` takes. */
export interface MikroOrmExtension {
  /** Called by MikroORM before it discovers the entities. @throws DataAccessError `DRIVER_MISMATCH` for another copy of MikroORM than this library's. */
  register(orm: MikroORM): void
}

/**
 * Makes an extension for the `extensions` of your own `MikroORM.init()`: it adds our entities and the modules' to yours and
 * watches transactions. Your subscribers, migrations and schema commands stay as they are; our tables come by
 * `data.migrate()`, or by merging our lists of migrations into yours.
 *
 * @throws DataAccessError `OPTION_INVALID`, `EVENT_DEFINITION_INVALID`.
 */
export function dataAccess(options: DataAccessExtensionOptions = {}): MikroOrmExtension {
  const elsewhere = {
    database: 'your MikroORM.init()',
    cache: 'createDataAccess({ orm, cache })',
    wake: 'createDataAccess({ orm, wake })',
  }
  checkOptions({ door: 'dataAccess', elsewhere }, options, extensionOptions)
  return new DataAccessExtension(options)
}

/** Our part inside an ORM, made by {@link dataAccess}. */
export class DataAccessExtension implements MikroOrmExtension {
  readonly modules: readonly DataModule[]
  readonly logger: Logger
  readonly events: EventDefinitions
  readonly subscriber: TransactionSubscriber
  readonly wake = new Wake()
  readonly #acquireTimeoutMs: number
  #guard: ConnectionGuard | undefined
  #adopted = false
  #cache: CommitParticipant | undefined

  /** @param acquireTimeoutMs how long a caller waits for a connection that was taken by hand. */
  constructor({ modules = [], logger = consoleLogger }: DataAccessExtensionOptions, acquireTimeoutMs = 10_000) {
    this.#acquireTimeoutMs = acquireTimeoutMs
    checkModules(modules)
    this.modules = modules
    for (const dialect of ['postgresql', 'sqlite'] as const) refuseSameNames(this.migrations(dialect))
    this.logger = steadyLogger(logger)
    this.events = new EventDefinitions(modules.flatMap((module) => module.events ?? []))
    this.subscriber = new TransactionSubscriber(
      [new EventRecorder(() => this.wake.ring()), new CommitHookRunner(this.logger)],
      (error, participant) => this.logger.error(`The ${participant} failed after a commit; the commit stands`, { error }),
    )
  }

  /** Finds the extension in an ORM. */
  static of(orm: MikroORM): DataAccessExtension {
    refuseOtherCore(orm)
    const found: unknown = orm.config.getExtension(extensionKey)
    refuseSchema(orm)
    refuseNoTransactions(orm)
    if (found instanceof DataAccessExtension) return found
    throw new DataAccessError(
      'OPTION_INVALID',
      'createDataAccess was given an ORM without our extension; add `extensions: [dataAccess({ modules })]` to its MikroORM.init()',
    )
  }

  /** Our entities and the modules'. */
  get entities(): EntityName[] {
    return [...outboxTables.entities, ...cacheTables.entities, ...this.modules.flatMap((module) => module.entities ?? [])]
  }

  register(orm: MikroORM): void {
    refuseOtherCore(orm)
    const { config } = orm
    config.registerExtension(extensionKey, () => this)
    config.set('entities', [...new Set([...config.get('entities'), ...(this.entities as never[])])])
    config.set('subscribers', this.subscriber.around(config.get('subscribers') as never[]))
    // Our tables and functions come by our migrations: the app's schema commands must neither create nor drop them.
    const generator = config.get('schemaGenerator')
    const ours = [...outboxTables.names, ...cacheTables.names]
    config.set('schemaGenerator', { ...generator, skipTables: [...(generator.skipTables ?? []), ...ours] })
    hideRoutines(orm, outboxTables.functions)
    this.#guard = new ConnectionGuard(orm, new KnownTables(orm, ours, this.modules), this.#acquireTimeoutMs)
    watchQueries(orm)
    watchViews(orm)
    prepareToListen(orm)
    writeLiteralsAtOnce(orm)
  }

  get guard(): ConnectionGuard {
    if (this.#guard !== undefined) return this.#guard
    throw new DataAccessError('OPTION_INVALID', 'The data access extension was not registered with an ORM yet')
  }

  /**
   * Lets a cache hear of commits, in place of that of a data access that was closed. Until then the closed one notes what the
   * application's own commits expire, for the caches of other processes.
   */
  joinCache(participant: CommitParticipant): void {
    this.subscriber.join(participant, this.#cache)
    this.#cache = participant
  }

  /** Makes the data access of this ORM: one at a time, since a second one would start a second cache. */
  adopt<Made>(make: () => Made): Made {
    if (this.#adopted) {
      throw new DataAccessError(
        'OPTION_INVALID',
        'createDataAccess was called twice for one ORM; use the data access of the first call, or close it first',
      )
    }
    const made = make()
    this.#adopted = true
    return made
  }

  /** The data access was closed: the ORM may have another one. */
  release(): void {
    this.#adopted = false
  }

  /** All migrations of a dialect in order: ours, then each module's. */
  migrations(dialect: Dialect) {
    const ours = [...outboxTables.migrations[dialect], ...cacheTables.migrations[dialect]]
    return [...ours, ...this.modules.flatMap((module) => module.migrations?.[dialect] ?? [])]
  }
}

/** MikroORM would qualify the entities' tables by it, and neither our statements nor migrations that name none would go there. */
function refuseSchema({ config, driver }: MikroORM): void {
  const schema = config.get('schema')
  if (!schema || schema === driver.getPlatform().getDefaultSchemaName()) return
  throw new DataAccessError(
    'OPTION_INVALID',
    `createDataAccess was given an ORM with \`schema: '${schema}'\`, in which its tables would not be found; leave it out, and let the connection lead there: driverOptions: { options: '-c search_path=${schema}' }`,
  )
}
