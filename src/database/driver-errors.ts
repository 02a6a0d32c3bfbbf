import { CheckConstraintViolationException, type Connection, type DriverException, TableNotFoundException } from '@mikro-orm/core'
import { DataAccessError } from '../errors.ts'
import { databaseLost, databaseUnreachable, endedForTime, tellsRefusal, transactionTimedOut } from './database-unreachable.ts'
import { addressOf, type DatabaseAddress } from './database-url.ts'
import { classifyFailure, comesFrom, noteOrigin } from './failure.ts'
import type { KnownTables } from './known-tables.ts'
import { migrationMissing } from './migration-missing.ts'
import { explainNul, type SentQuery } from './nul-text.ts'
import { OneConnection } from './one-connection.ts'
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
  createAdapter(): { readonly supportsMultipleConnections?: boolean }
}
interface Driver {
  acquireConnection(...args: unknown[]): Promise<DriverConnection>
  releaseConnection(connection: DriverConnection, ...rest: unknown[]): Promise<void>
}
interface DriverConnection {
  executeQuery(query: SentQuery, ...rest: unknown[]): Promise<unknown>
  streamQuery(query: SentQuery, ...rest: unknown[]): AsyncIterableIterator<unknown>
}

/**
 * Notes each error of a connection as it leaves Kysely's driver: there the queries of `em.getKysely()` pass too, and nothing
 * that an application's own subscribers and hooks throw.
 *
 * @param explain tells what an error there means by now.
 * @returns notes an error that was met elsewhere, where the driver is the application's own and is not seen.
 */
export function watchErrors(
  connection: Connection,
  callers: WaitingCallers,
  explain: (error: unknown) => unknown,
): <Failure>(error: Failure) => Failure {
  const sql = connection as KyselyConnection
  const note = <Failure>(error: Failure) => noteOrigin(error, connection)
  const told = (error: unknown) => note(explain(error))
  // Of others, those who know whether they were to commit say what became of it.
  const read = (error: unknown) => explain(explainNoConnection(told(error), connection))
  const create = sql.createKyselyDialect
  const watch = (dialect: Dialect) => watchDialect(dialect, { told, read }, callers)
  let watched = false
  sql.createKyselyDialect = (...args) => {
    watched = true
    const made = create.apply(sql, args)
    return made instanceof Promise ? made.then(watch) : watch(made)
  }
  return (error) => (watched ? error : note(error))
}

/** What is thrown for an error of a statement, and of a stream. */
interface Notes {
  told(error: unknown): unknown
  read(error: unknown): unknown
}

function watchDialect(dialect: Dialect, notes: Notes, callers: WaitingCallers): Dialect {
  const { createDriver, createAdapter } = dialect
  const known = new WeakSet<DriverConnection>()
  let one: OneConnection | undefined
  dialect.createAdapter = () => {
    const adapter = createAdapter.call(dialect)
    if (adapter.supportsMultipleConnections !== false) return adapter
    // Kysely would let callers wait where nobody could tell them that the database closes.
    one = new OneConnection()
    return Object.defineProperty(adapter, 'supportsMultipleConnections', { value: true })
  }
  dialect.createDriver = () => {
    const driver = createDriver.call(dialect)
    const { acquireConnection, releaseConnection } = driver
    driver.releaseConnection = async (...args) => {
      try {
        await releaseConnection.apply(driver, args)
      } finally {
        one?.giveBack()
      }
    }
    driver.acquireConnection = async (...args) => {
      try {
        const acquire = async () => {
          await one?.take()
          try {
            return await acquireConnection.apply(driver, args)
          } catch (error) {
            one?.giveBack()
            throw error
          }
        }
        const acquired = await callers.wait(acquire, (late) => driver.releaseConnection(late))
        if (!known.has(acquired)) watchQueries(acquired, notes)
        known.add(acquired)
        return acquired
      } catch (error) {
        throw notes.told(error)
      }
    }
    return driver
  }
  return dialect
}

function watchQueries(connection: DriverConnection, { told, read }: Notes): void {
  const { executeQuery, streamQuery } = connection
  connection.executeQuery = async (...args) => {
    try {
      return await executeQuery.apply(connection, args)
    } catch (error) {
      throw told(explainStatement(error, args[0]))
    }
  }
  connection.streamQuery = async function* (...args) {
    try {
      yield* streamQuery.apply(connection, args)
    } catch (error) {
      throw read(explainStatement(error, args[0]))
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
