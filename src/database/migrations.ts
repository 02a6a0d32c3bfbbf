import type { EntityManager, MigrationObject, MigrationsOptions, MikroORM, Transaction } from '@mikro-orm/core'
import { type Migration, MigrationRunner, MigrationStorage } from '@mikro-orm/migrations'
import { DataAccessError, hasErrorCode } from '../errors.ts'
import { whileMigrating } from './migration-lock.ts'
import { migrationMissing } from './migration-missing.ts'
import { checkMigrateOptions, type MigrateOptions, planMigrations, storedName } from './migration-plan.ts'
import { dialectOf, runSql } from './sql.ts'

/**
 * One migration: a permanent name, unique across modules, and a class that extends `Migration` of `@mikro-orm/migrations`.
 * A list of these also fits MikroORM's own option `migrations.migrationsList`.
 */
export type MigrationDefinition = MigrationObject

/**
 * How long a statement of a migration waits for a lock unless it is told, in ms. All who come later for the table wait behind it: less
 * than they wait for a connection by default, so that what piles up has gone before anybody is refused one.
 */
const defaultLockTimeoutMs = 5000

/** Hears of migrations, of whose SQL nobody tells what it changes. */
export interface MigrationObserver {
  /**
   * Called last in a transaction in which at least one has run.
   *
   * @returns what to call once it has ended. One that was not committed for certain may have been all the same.
   */
  migrated(em: EntityManager): Promise<(committed: boolean) => Promise<void>>
}

/**
 * Runs migrations in one transaction: all of them, or none. Processes that migrate one database at once queue up, and the
 * later ones find nothing left to do. Order is that of the list; what ran is kept in MikroORM's own table, so its command line
 * sees the same state. Resolves to the names of the migrations that ran, in order. No `statement_timeout` ends them; how long they
 * wait for a lock is bounded.
 *
 * Errors: `MIGRATION_FAILED` names the migration that failed, with the database's error as its cause, or tells that another process
 * kept the database for ten minutes; `OPTION_INVALID`.
 */
export async function migrate(
  orm: MikroORM,
  definitions: readonly MigrationDefinition[],
  options: MigrateOptions = {},
  observer?: MigrationObserver,
): Promise<string[]> {
  checkMigrateOptions(options)
  const em = orm.em.fork({ disableContextResolution: true })
  const settings = migrationSettings(em)
  const direction = options.direction ?? 'up'
  let ended: ((committed: boolean) => Promise<void>) | undefined
  const run = async (transaction: Transaction) => {
    await allowTime(em, options.lockTimeoutMs ?? defaultLockTimeoutMs)
    const driver = driverOf(em)
    const runner = new MigrationRunner(driver, settings, orm.config)
    const storage = await storageOf(em, settings)
    runner.setMasterMigration(transaction)
    storage.setMasterMigration(transaction)
    const plan = planMigrations(definitions, await storage.executed(), options)
    for (const { name, class: MigrationClass } of plan) {
      const migration = new MigrationClass(driver, orm.config) as Migration
      const log = (inner?: Transaction) =>
        direction === 'up' ? storage.logMigration({ name }, inner) : storage.unlogMigration({ name }, inner)
      try {
        refuseOutsideTransaction(migration)
        await runner.run(migration, direction, log)
      } catch (cause) {
        throw failed(name, direction, cause)
      }
    }
    if (plan.length > 0) ended = await observer?.migrated(em)
    return plan.map(({ name }) => name)
  }
  try {
    const ran = await whileMigrating(em, run)
    await ended?.(true)
    return ran
  } catch (error) {
    await ended?.(false)
    throw error
  }
}

/**
 * Resolves to the names of the migrations of the list that have not run on this database, in order. Changes nothing.
 *
 * @param inside a transaction in which to ask, where there is no other connection.
 */
export async function pendingMigrations(
  orm: MikroORM,
  definitions: readonly MigrationDefinition[],
  inside?: Transaction,
): Promise<string[]> {
  const em = orm.em.fork({ disableContextResolution: true })
  if (inside !== undefined) em.setTransactionContext(inside)
  const { tableName, schemaName } = (await storageOf(em, migrationSettings(em))).getTableName()
  const names = [schemaName, tableName].filter((name) => name !== undefined)
  const table = names.map((name) => em.getPlatform().quoteIdentifier(name)).join('.')
  const executed = await runSql<{ name: string }>(em, `select name from ${table}`).catch((error: unknown) => {
    // Without MikroORM's table nothing has ever run.
    if (migrationMissing(error) === undefined) throw error
    return []
  })
  const ran = executed.map(({ name }) => storedName(name))
  return planMigrations(definitions, ran).map(({ name }) => name)
}

/**
 * The migrations that an application has listed in the configuration of its own ORM, for MikroORM's migrator to run; of those in files,
 * which would have to be looked for and loaded, it tells nothing.
 */
export function listedMigrations(orm: MikroORM): MigrationDefinition[] {
  const { migrationsList = [] } = orm.config.get('migrations')
  return migrationsList.map((each) => {
    if (typeof each === 'object') return each
    const { name = each.name } = new each(orm.driver as never, orm.config) as { name?: string }
    return { name, class: each } as MigrationDefinition
  })
}

/** For the rest of the transaction: a `create index` takes what it takes, but nobody should wait long behind one that only waits itself. */
async function allowTime(em: EntityManager, lockTimeoutMs: number): Promise<void> {
  if (dialectOf(em) !== 'postgresql') return
  // By the list of settings: not every version has a transaction_timeout.
  const settings = `select set_config(name, case name when 'lock_timeout' then ? else '0' end, true)
    from pg_settings where name in ('statement_timeout', 'transaction_timeout', 'lock_timeout')`
  await runSql(em, settings, [String(lockTimeoutMs)])
}

/** The application's settings for the table of migrations; the rest is ours: one transaction, and no file is read or written. */
function migrationSettings(em: EntityManager): MigrationsOptions {
  return { ...em.config.get('migrations'), transactional: true, allOrNothing: true, disableForeignKeys: false, snapshot: false }
}

/** MikroORM's table of what ran. */
async function storageOf(em: EntityManager, settings: MigrationsOptions): Promise<MigrationStorage> {
  return new MigrationStorage(driverOf(em), { ...settings, ...(await schemaOfTables(em, settings)) })
}

function driverOf(em: EntityManager): ConstructorParameters<typeof MigrationRunner>[0] {
  return em.getDriver() as unknown as ConstructorParameters<typeof MigrationRunner>[0]
}

/**
 * The schema in which a table without one is created. MikroORM looks for its table in `public` where nothing else is configured,
 * and would not find it again when the search_path of the connection leads elsewhere.
 */
async function schemaOfTables(em: EntityManager, settings: MigrationsOptions): Promise<{ schema?: string }> {
  // MikroORM fills in the default schema where an application names none.
  const named = em.config.get('schema', '') !== em.getPlatform().getDefaultSchemaName()
  if (dialectOf(em) !== 'postgresql' || named || settings.schema || settings.tableName?.includes('.')) return {}
  // Where the table is, by the search_path, or will be created: a schema before it may have been added later.
  const [row] = await runSql<{ schema: string | null }>(
    em,
    `select coalesce((
      select n.nspname from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = to_regclass(quote_ident(?))
    ), current_schema()) as schema`,
    [settings.tableName ?? 'mikro_orm_migrations'],
  )
  return row?.schema ? { schema: row.schema } : {}
}

function refuseOutsideTransaction(migration: Migration): void {
  if (migration.isTransactional()) return
  throw new Error('isTransactional() is false, and this migrator runs everything in one transaction. Run it by itself')
}

function failed(name: string, direction: 'up' | 'down', cause: unknown): DataAccessError {
  const locked = hasErrorCode(cause, 'LOCK_NOT_AVAILABLE')
  // Its own cure, another lock_timeout, is none here.
  const told = locked && cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause
  const reason = told instanceof Error ? told.message : String(told)
  const cure = locked
    ? 'Migrate again once the transaction that holds it has ended, or wait longer for it by migrate({ lockTimeoutMs }), behind which all others wait who want that table'
    : 'Correct it and migrate again'
  return new DataAccessError(
    'MIGRATION_FAILED',
    `Migration "${name}" failed (${direction}) and nothing was changed: ${reason}. ${cure}`,
    { cause, context: { migration: name, direction } },
  )
}
