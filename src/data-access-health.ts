import type { MikroORM, Transaction } from '@mikro-orm/core'
import { askDatabase, type HealthReport, measureHealth } from './database/health.ts'
import { storedName } from './database/migration-plan.ts'
import { listedMigrations, type MigrationDefinition, pendingMigrations } from './database/migrations.ts'
import type { PoolFigures } from './database/pool-figures.ts'
import { checkOptions, flag } from './kernel/options.ts'
import type { Cache, CacheStats } from './repository/cached-reads.ts'
import type { UnitFigures } from './unit-of-work/unit-figures.ts'

/** How long a question about health may take, in ms. */
const healthTimeoutMs = 2000

/** What `data.health()` takes. */
export interface HealthOptions {
  /** Whether to ask too if all migrations have run, and not to be `ok` before. Default: false. */
  readonly migrations?: boolean | undefined
}

/** Whether all migrations have run on a database: ours, the modules', and those in `migrations.migrationsList` of an ORM of your own. */
export interface MigrationsReport extends HealthReport {
  /** Those that have not, in order; none where the database did not tell, which `error` does. */
  readonly pending: readonly string[]
}

/** Whether database and cache answer. */
export interface DataAccessHealth {
  /** Whether the database does, and all migrations have run, if that was asked; the cache may be away. */
  readonly ok: boolean
  /** What came of a `select 1` on the primary, of which at most 2 s are waited for. */
  readonly database: HealthReport
  /** What came of one round trip to the cache's store; absent when no cache was chosen. */
  readonly cache?: HealthReport
  /** Absent when it was not asked for. */
  readonly migrations?: MigrationsReport
}

/** The figures of a data access in this process, as `data.stats()` reads them. */
export interface DataAccessStats {
  /** The database connections at this moment. */
  readonly pool: PoolFigures
  /** What became of its units of work since it was opened. */
  readonly units: UnitFigures
  /** What its caches have done since it was opened; absent when no cache was chosen. */
  readonly cache?: CacheStats
}

/** Of whose health a question is. */
export interface HealthParts {
  readonly orm: MikroORM
  readonly cache: Cache | undefined
  readonly closed: boolean
  /** The transaction around the question, where the database has one connection for all. */
  readonly inside: object | undefined
  readonly migrations: readonly MigrationDefinition[]
}

/** Asks database and cache whether they answer. @throws DataAccessError `OPTION_INVALID`, and nothing else. */
export async function healthOf(parts: HealthParts, options: HealthOptions): Promise<DataAccessHealth> {
  checkOptions({ door: 'health' }, options, { migrations: flag })
  const { cache, closed } = parts
  const [[database, migrations], cacheReport] = await Promise.all([
    askAll(parts, options.migrations === true),
    cache === undefined ? undefined : measureHealth(async () => void (await (closed ? refuse() : cache.ping())), healthTimeoutMs),
  ])
  return {
    // Without the cache reads go to the database: slower, and still right.
    ok: database.ok && migrations?.ok !== false,
    database,
    ...(cacheReport === undefined ? {} : { cache: cacheReport }),
    ...(migrations === undefined ? {} : { migrations }),
  }
}

/** One question after the other: a probe must not take two connections of a busy pool. */
async function askAll({ orm, closed, inside, migrations }: HealthParts, withMigrations: boolean) {
  const database = await measureHealth(() => (closed ? refuse() : askDatabase(orm, inside)), healthTimeoutMs)
  if (!withMigrations) return [database, undefined] as const
  let pending: readonly string[] = []
  if (!database.ok) return [database, { ...database, latencyMs: 0, pending }] as const
  const ask = async () => {
    const known = new Set(migrations.map(({ name }) => storedName(name)))
    const others = listedMigrations(orm).filter(({ name }) => !known.has(storedName(name)))
    pending = await pendingMigrations(orm, [...migrations, ...others], inside as Transaction | undefined)
    if (pending.length === 0) return
    const cures = [
      ...(pending.some((name) => known.has(name)) ? ['`await data.migrate()`'] : []),
      ...(pending.some((name) => !known.has(name)) ? ['`await orm.migrator.up()`'] : []),
    ]
    throw new Error(`${pending.length} migrations have not run; run ${cures.join(' and ')}`)
  }
  const report = await measureHealth(ask, Math.max(1, Math.round(healthTimeoutMs - database.latencyMs)))
  return [database, { ...report, pending }] as const
}

async function refuse(): Promise<never> {
  throw new Error('This data access was closed')
}
