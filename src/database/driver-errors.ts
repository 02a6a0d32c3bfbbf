import { CheckConstraintViolationException, type Connection, type DriverException, TableNotFoundException } from '@mikro-orm/core'
import { DataAccessError } from '../errors.ts'
import { databaseLost, databaseUnreachable, endedForTime, tellsRefusal, transactionTimedOut } from './database-unreachable.ts'
import { addressOf, type DatabaseAddress } from './database-url.ts'
import { classifyFailure, comesFrom, noteOrigin } from './failure.ts'
import type { KnownTables } from './known-tables.ts'
import { migrationMissing } from './migration-missing.ts'
import { explainNul, type SentQuery } from './nul-text.ts'
import { permissionDenied } from './permission-denied.ts'
import { notedPool } from './pool-figures.ts'
import { timeLimit } from './time-limits.ts'
import type { WaitingCallers } from './waiting-callers.ts'

/** What `pg`'s pool says when nobody gave a connection back in time; it has no code. */
const poolTimeout = 'timeout exceeded when trying to connect'

/** SQLSTATE 22001, string_data_right_truncation: PostgreSQL's word for what is a failed check on SQLite. */
const tooLong = '22001'

/** The part of MikroORM's SQL connection that makes Kysely's driver. */
interface KyselyConnection extends Connection {
  createKyselyDialect(...args: unknown[]): Dialect | Promise<Dialect>
}

/** The parts of Kysely, which is no dependency of ours, that every statement passes through. */
interface Dialect {
  createDriver(): Driver
}
interface Driver {
  acquireConnection(...args: unknown[]): Promise<DriverConnection>
  releaseConnection(connection: DriverConnection): Promise<void>
}
interface DriverConnection {
  executeQuery(query: SentQuery, ...rest: unknown[]): Promise<unknown>
  streamQuery(query: SentQuery, ...rest: unknown[]): AsyncIterableIterator<unknown>
}

/**
 * Notes each error of a connection as it leaves Kysely's driver: there the queries of `em.getKysely()` pass too, and nothing
 * that an application's own subscribers and hooks throw.
 *
 * @returns notes an error that was met elsewhere, where the driver is the application's own and is not seen.
 */
export function watchErrors(connection: Connection, callers: WaitingCallers): <Failure>(error: Failure) => Failure {
  const sql = connection as KyselyConnection
  const note = <Failure>(error: Failure) => noteOrigin(error, connection)
  const create = sql.createKyselyDialect
  let watched = false
  sql.createKyselyDialect = (...args) => {
    watched = true
    const made = create.apply(sql, args)
    return made instanceof Promise
      ? made.then((dialect) => watchDialect(dialect, note, callers))
      : watchDialect(made, note, callers)
  }
  return (error) => (watched ? error : note(error))
}

type Note = (error: unknown) => unknown

function watchDialect(dialect: Dialect, note: Note, callers: WaitingCallers): Dialect {
  const { createDriver } = dialect
  const known = new WeakSet<DriverConnection>()
  dialect.createDriver = () => {
    const driver = createDriver.call(dialect)
    const { acquireConnection } = driver
    driver.acquireConnection = async (...args) => {
      try {
        const acquire = () => acquireConnection.apply(driver, args)
        const acquired = await callers.wait(acquire, (late) => driver.releaseConnection(late))
        if (!known.has(acquired)) watchQueries(acquired, note)
        known.add(acquired)
        return acquired
      } catch (error) {
        throw note(error)
      }
    }
    return driver
  }
  return dialect
}

function watchQueries(connection: DriverConnection, note: Note): void {
  const { executeQuery, streamQuery } = connection
  connection.executeQuery = async (...args) => {
    try {
      return await executeQuery.apply(connection, args)
    } catch (error) {
      throw note(explainStatement(error, args[0]))
    }
  }
  connection.streamQuery = async function* (...args) {
    try {
      yield* streamQuery.apply(connection, args)
    } catch (error) {
      throw note(explainStatement(error, args[0]))
    }
  }
}

/** Says why a database refused a statement where that is none of its own: for a character, or want of a right or of time. */
function explainStatement(error: unknown, query: SentQuery): unknown {
  const explained = explainNul(error, query)
  return explained === error ? (permissionDenied(error) ?? timeLimit(error, query.sql) ?? error) : explained
}

/** The same where the driver is not seen; or for want of a connection. */
export function explainRefusal(error: unknown, connection: Connection): unknown {
  const explained = explainNoConnection(error, connection)
  if (explained !== error || !comesFrom(error, connection)) return explained
  return permissionDenied(error) ?? timeLimit(error) ?? error
}

/**
 * Says why a caller got no connection to the database, or lost the one it had; any other error is returned as it is, and one
 * that this connection did not throw, whatever its code.
 */
export function explainNoConnection(error: unknown, connection: Connection): unknown {
  if (error instanceof DataAccessError || !comesFrom(error, connection)) return error
  if (error.message.includes(poolTimeout)) {
    return new DataAccessError(
      'POOL_EXHAUSTED',
      'No connection of the pool became free in time. Make transactions shorter, use the `em` of a unit of work for all that is inside it, or raise database.pool.max',
      { cause: error, context: { ...notedPool(connection) } },
    )
  }
  if (endedForTime(error)) return transactionTimedOut(error)
  if (tellsRefusal(error)) return databaseUnreachable(placeOf(connection), error)
  return classifyFailure(error, connection) === 'connection' ? databaseLost(placeOf(connection), error) : error
}

/** Not every connection has an address to read, and that must not hide what is to be explained. */
function placeOf(connection: Connection): DatabaseAddress {
  try {
    return addressOf(connection)
  } catch {
    return { dialect: 'sqlite', target: ':memory:', printable: 'of this ORM' }
  }
}

/**
 * Makes of an error that MikroORM has converted what both dialects give alike: our own as it is, a known table that is missing
 * as `MIGRATION_MISSING` with MikroORM's error as its cause, a too long text as a failed check.
 */
export function unifyDriverError(original: Error, converted: DriverException, tables: KnownTables): DriverException {
  if (original instanceof DataAccessError) return original as unknown as DriverException
  if (converted instanceof TableNotFoundException) {
    return (migrationMissing(converted, (table) => tables.cureOf(table)) ?? converted) as DriverException
  }
  return converted.code === tooLong && !(converted instanceof CheckConstraintViolationException)
    ? new CheckConstraintViolationException(original)
    : converted
}
