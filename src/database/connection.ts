import { type MikroORM, type Options, Utils } from '@mikro-orm/core'
import { DataAccessError } from '../errors.ts'
import { fullJitter } from '../kernel/backoff.ts'
import { monotonicClock } from '../kernel/clock.ts'
import { checkDatabaseOptions, type DatabaseOptions } from './database-options.ts'
import { databaseUnreachable } from './database-unreachable.ts'
import { type DatabaseAddress, parseDatabaseUrl } from './database-url.ts'
import { classifyFailure } from './failure.ts'
import { askDatabase } from './health.ts'
import type { Dialect } from './sql.ts'
import { settingsOfUrl } from './url-parameters.ts'

/** The driver package of each dialect: an optional peer, loaded only when its dialect is asked for. */
const driverPackages = { postgresql: '@mikro-orm/postgresql', sqlite: '@mikro-orm/sqlite' } as const

/** Each ORM needs a name of its own, by which MikroORM finds the transaction around a caller. */
let opened = 0

/**
 * Opens an ORM on a database and checks that the database answers.
 *
 * @throws DataAccessError `DATABASE_URL_INVALID`, `DRIVER_MISSING`, `DATABASE_UNREACHABLE`, `OPTION_INVALID`.
 */
export async function openOrm(database: DatabaseOptions, config: Partial<Options>): Promise<MikroORM> {
  checkDatabaseOptions(database)
  const address = parseDatabaseUrl(database.url)
  const connecting = address.dialect === 'postgresql' ? postgresqlConfig(address, database) : sqliteConfig(address, database)
  const driver = await loadDriver(address.dialect)
  const orm = await driver.MikroORM.init({
    ...config,
    ...connecting,
    contextName: `data-access-${++opened}`,
    // A library must not create a database because a URL has a typing error.
    ensureDatabase: false,
  })
  try {
    await askDatabase(orm)
    if (address.dialect === 'sqlite' && address.target !== ':memory:') await enableWal(orm)
    return orm
  } catch (error) {
    await orm.close(true).catch(() => {})
    throw databaseUnreachable(address, error)
  }
}

interface DriverModule {
  readonly MikroORM: { init(options: Partial<Options>): Promise<MikroORM> }
}

async function loadDriver(dialect: Dialect): Promise<DriverModule> {
  const name = driverPackages[dialect]
  try {
    // Each specifier stands as a literal, so that bundlers see it.
    const driver: unknown = dialect === 'postgresql' ? await import('@mikro-orm/postgresql') : await import('@mikro-orm/sqlite')
    return driver as DriverModule
  } catch (error) {
    throw driverMissing(name, error)
  }
}

function driverMissing(name: string, cause: unknown): DataAccessError {
  const { message, code } = (cause ?? {}) as { message?: unknown; code?: unknown }
  const absent = /^Cannot find (?:package|module) '([^']+)'/.exec(String(message))?.[1]
  // All packages of MikroORM must have one version.
  const install = `npm install ${name}@${Utils.getORMVersion()}`
  const known = code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND'
  const what =
    known && absent === name
      ? `The driver ${name} is not installed; run: ${install}`
      : known && absent !== undefined
        ? `The package ${absent}, which ${name} needs, is not installed; install the driver anew: ${install}`
        : `The driver ${name} cannot be loaded: ${String(message)}. If it is damaged, install it anew: ${install}`
  return new DataAccessError('DRIVER_MISSING', what, { cause, context: { package: name } })
}

/** What MikroORM is given to connect to PostgreSQL. What is said in options wins over what the URL says. */
export function postgresqlConfig(
  { target, printable }: DatabaseAddress,
  { pool = {}, statementTimeoutMs, driverOptions = {} }: DatabaseOptions,
) {
  const byUrl = settingsOfUrl(target, printable)
  // `pg` would look at the fallback only where nobody gave a name.
  const named = 'fallback_application_name' in byUrl.driverOptions
  return {
    ...byUrl.address,
    clientUrl: target.replace(/[?].*$/s, ''),
    pool: { min: pool.min ?? 0, max: pool.max ?? 10, idleTimeoutMillis: pool.idleTimeoutMs ?? 10_000 },
    driverOptions: {
      connectionTimeoutMillis: 10_000,
      ...(named ? {} : { application_name: '@innovateai/data-access' }),
      keepAlive: true,
      ...byUrl.driverOptions,
      ...defined({ connectionTimeoutMillis: pool.acquireTimeoutMs, statement_timeout: statementTimeoutMs }),
      ...defined(driverOptions),
    },
  } satisfies Partial<Options>
}

/** Leaves out what is undefined: `ssl: undefined` must not take away the encryption that the URL asks for. */
function defined(options: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}

function sqliteConfig({ target }: DatabaseAddress, { driverOptions }: DatabaseOptions) {
  return {
    dbName: target,
    // Another process may hold the write lock for a while; fail only after 5 s.
    driverOptions: { timeout: 5000, ...driverOptions },
  } satisfies Partial<Options>
}

/** Readers and the one writer do not wait for each other in WAL mode. It has no meaning in memory. */
async function enableWal(orm: MikroORM): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await orm.driver.getConnection('write').execute('pragma journal_mode = wal')
      return
    } catch (error) {
      // The switch ignores the busy timeout when another process opens the new file at the same moment.
      if (classifyFailure(error) !== 'conflict' || attempt === 20) throw error
      await monotonicClock.wait(fullJitter({ baseMs: 10, maxMs: 200 }, attempt))
    }
  }
}
