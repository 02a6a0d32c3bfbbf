import type { EntityManager, MigrationObject, MigrationsOptions, MikroORM, Transaction } from '@mikro-orm/core'
import { type Migration, MigrationRunner, MigrationStorage } from '@mikro-orm/migrations'
import { DataAccessError } from '../errors.ts'
import { whileMigrating } from './migration-lock.ts'
import { migrationMissing } from './migration-missing.ts'
import { checkMigrateOptions, type MigrateOptions, planMigrations } from './migration-plan.ts'
import { dialectOf, runSql } from './sql.ts'

/**
 * One migration: a permanent name, unique across modules, and a class that extends `Migration` of `@mikro-orm/migrations`.
 * A list of these also fits MikroORM's own option `migrations.migrationsList`.
 */
export type MigrationDefinition = MigrationObject

/**
 * Runs migrations in one transaction: all of them, or none. Processes that migrate one database at once queue up, and the
 * later ones find nothing left to do. Order is that of the list; what ran is kept in MikroORM's own table, so its command line
 * sees the same state. Resolves to the names of the migrations that ran, in order.
 *
 * Errors: `MIGRATION_FAILED` names the migration that failed, with the database's error as its cause, or tells that another process
 * kept the database for ten minutes; `OPTION_INVALID`.
 */
export async function migrate(
  orm: MikroORM,
  definitions: readonly MigrationDefinition[],
  options: MigrateOptions = {},
): Promise<string[]> {
  checkMigrateOptions(options)
  const em = orm.em.fork({ disableContextResolution: true })
  const settings = migrationSettings(em)
  const direction = options.direction ?? 'up'
  return whileMigrating(em, async (transaction) => {
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
    return plan.map(({ name }) => name)
  })
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
  const ran = executed.map(({ name }) => name.replace(/\.[jt]s$/, ''))
  return planMigrations(definitions, ran).map(({ name }) => name)
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
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new DataAccessError(
    'MIGRATION_FAILED',
    `Migration "${name}" failed (${direction}) and nothing was changed: ${reason}. Correct it and migrate again`,
    { cause, context: { migration: name, direction } },
  )
}
