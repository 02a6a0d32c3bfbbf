import { CheckConstraintViolationException, type Connection, type DriverException, TableNotFoundException } from '@mikro-orm/core'
import { DataAccessError } from '../errors.ts'
import { databaseLost, databaseUnreachable, tellsRefusal } from './database-unreachable.ts'
import { addressOf } from './database-url.ts'
import { classifyFailure } from './failure.ts'
import type { KnownTables } from './known-tables.ts'
import { migrationMissing } from './migration-missing.ts'

/** What `pg`'s pool says when nobody gave a connection back in time; it has no code. */
const poolTimeout = 'timeout exceeded when trying to connect'

/** SQLSTATE 22001, string_data_right_truncation: PostgreSQL's word for what is a failed check on SQLite. */
const tooLong = '22001'

/** Says why a caller got no connection to the database, or lost the one it had; any other error is returned as it is. */
export function explainNoConnection(error: unknown, connection: Connection): unknown {
  if (!(error instanceof Error) || error instanceof DataAccessError) return error
  if (error.message.includes(poolTimeout)) {
    return new DataAccessError(
      'POOL_EXHAUSTED',
      'No connection of the pool became free in time. Make transactions shorter, use the `em` of a unit of work for all that is inside it, or raise database.pool.max',
      { cause: error },
    )
  }
  if (tellsRefusal(error)) return databaseUnreachable(addressOf(connection), error)
  return classifyFailure(error) === 'connection' ? databaseLost(addressOf(connection), error) : error
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
