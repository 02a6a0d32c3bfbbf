import type { MikroORM, Options } from '@mikro-orm/core'
import { DataAccessError } from '../errors.ts'
import { fullJitter } from '../kernel/backoff.ts'
import { monotonicClock } from '../kernel/clock.ts'
import { checkDatabaseOptions, type DatabaseOptions } from './database-options.ts'
import { type DatabaseAddress, maskPassword, parseDatabaseUrl } from './database-url.ts'
import { classifyFailure } from './failure.ts'
import { askDatabase } from './health.ts'
import type { Dialect } from './sql.ts'

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
  const driver = await loadDriver(address.dialect)
  const orm = await driver.MikroORM.init({
    ...config,
    ...(address.dialect === 'postgresql' ? postgresqlConfig(address, database) : sqliteConfig(address, database)),
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
    throw unreachable(address, error)
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
    // biome-ignore lint/style/useErrorCause: our errors take their cause in the third argument.
    throw new DataAccessError('DRIVER_MISSING', `The driver ${name} cannot be loaded; install it: npm install ${name}`, {
      cause: error,
      context: { package: name },
    })
  }
}

function postgresqlConfig({ target }: DatabaseAddress, { pool = {}, statementTimeoutMs, driverOptions }: DatabaseOptions) {
  return {
    clientUrl: target,
    pool: { min: pool.min ?? 0, max: pool.max ?? 10, idleTimeoutMillis: pool.idleTimeoutMs ?? 10_000 },
    driverOptions: {
      connectionTimeoutMillis: pool.acquireTimeoutMs ?? 10_000,
      application_name: '@innovateai/data-access',
      keepAlive: true,
      ...(statementTimeoutMs === undefined ? {} : { statement_timeout: statementTimeoutMs }),
      ...driverOptions,
    },
  } satisfies Partial<Options>
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

/** What PostgreSQL's refusals mean, and what to do about them. */
const refusalCures: Readonly<Record<string, string>> = {
  '3D000': 'the database does not exist; create it first',
  '28P01': 'the password is wrong',
  '28000': 'the server refuses this user; check its pg_hba.conf',
  ECONNREFUSED: 'nothing listens there; start the server or correct host and port',
  ENOTFOUND: 'the host is not known; correct it',
  SQLITE_CANTOPEN: 'the file cannot be opened; check that its folder exists and may be written',
}

function unreachable({ printable }: DatabaseAddress, error: unknown): DataAccessError {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  const reason = refusalCures[code] ?? maskPassword(error instanceof Error ? error.message : String(error))
  return new DataAccessError('DATABASE_UNREACHABLE', `The database ${printable} cannot be used: ${reason}`, {
    cause: error,
    context: { database: printable, ...(code === '' ? {} : { code }) },
  })
}
