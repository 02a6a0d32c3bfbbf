import { DataAccessError } from '../errors.ts'
import { anything, checkOptions, describeValue, record, wholeFrom } from '../kernel/options.ts'

/** Sizes and waits of the connection pool; but for `acquireTimeoutMs` PostgreSQL only, since SQLite has one connection. */
export interface PoolOptions {
  /** Connections kept open, 0 … 10,000 and at most `max`. Default 0. */
  readonly min?: number | undefined
  /** The most connections, 1 … 10,000. Default 10. */
  readonly max?: number | undefined
  /** How long an idle connection is kept, in ms. Default 10 000. */
  readonly idleTimeoutMs?: number | undefined
  /**
   * How long a caller waits for a connection, in ms, before it fails. Default 10 000. On SQLite: for one that `em.begin()` took,
   * since units of work and `em.transactional()` take turns.
   */
  readonly acquireTimeoutMs?: number | undefined
}

/** Where the database is and how it is connected to. */
export interface DatabaseOptions {
  /**
   * `postgres://…`, `sqlite:path` or `file:path`, `:memory:`. Default: SQLite in memory, which ends with the process. A `url`
   * that is given and `undefined` is refused: the environment variable behind it is most likely not set. That of PostgreSQL takes
   * libpq's parameters, such as `?sslmode=verify-full`; one that would not be honoured is refused.
   */
  readonly url?: string | undefined
  /** How many connections there may be, and how long one is kept or waited for. */
  readonly pool?: PoolOptions | undefined
  /** PostgreSQL's statement_timeout in ms; five seconds later an answer that did not come is waited for no longer. Default: the server's. */
  readonly statementTimeoutMs?: number | undefined
  /** Handed to the driver as they are: `pg` pool options, which win over the URL's parameters, or `better-sqlite3` options. */
  readonly driverOptions?: Readonly<Record<string, unknown>> | undefined
}

/** What `database` must be. */
export const databaseExpected = { ...record, words: 'an object, { url }' }

/**
 * Checks everything but the form of the URL.
 *
 * @throws DataAccessError `OPTION_INVALID`; `DATABASE_URL_INVALID` for a URL that is there and undefined.
 */
export function checkDatabaseOptions(database: DatabaseOptions): void {
  const door = 'createDataAccess'
  checkOptions({ door, under: 'database' }, database, {
    // Its own error, which says what a URL looks like, comes when it is read.
    url: anything,
    pool: record,
    statementTimeoutMs: wholeFrom(0, 2_147_483_647),
    driverOptions: record,
  })
  if ('url' in database && database.url === undefined) {
    throw new DataAccessError(
      'DATABASE_URL_INVALID',
      "database.url is undefined: the environment variable that holds it is probably not set. Set it; for SQLite in memory leave `url` out or give ':memory:'",
    )
  }
  checkDriverOptions(database.driverOptions ?? {})
  const { pool = {} } = database
  const milliseconds = wholeFrom(0, 2_147_483_647)
  checkOptions({ door, under: 'database.pool' }, pool, {
    min: wholeFrom(0, 10_000),
    max: wholeFrom(1, 10_000),
    idleTimeoutMs: milliseconds,
    acquireTimeoutMs: milliseconds,
  })
  const { min = 0, max = 10 } = pool
  if (min > max) {
    throw new DataAccessError(
      'OPTION_INVALID',
      `createDataAccess: database.pool.min is ${min}; give at most database.pool.max, ${max}`,
    )
  }
}

/** What `pg` takes for `ssl`, if it is no object. */
const sslValues: readonly unknown[] = [true, false, 'true', 'no-verify', null, undefined]

/** Refuses what would end the process: `pg` fails on it where nobody can catch, in an event or a timer of its own. */
function checkDriverOptions(driverOptions: Readonly<Record<string, unknown>>): void {
  const refuse = (why: string) => new DataAccessError('OPTION_INVALID', `createDataAccess: database.driverOptions.${why}`)
  if ('connection' in driverOptions) {
    throw refuse(
      'connection is an option of Knex, which is not in use; put what is in it one level up: driverOptions: { ssl: true }',
    )
  }
  const { ssl } = driverOptions
  if (typeof ssl === 'object' || sslValues.includes(ssl)) return
  throw refuse(`ssl is ${describeValue(ssl)}; give true, false or an object of what tls.connect() takes, or sslmode in the URL`)
}
