import type { Connection, EntityManager } from '@mikro-orm/core'
import { cacheTables } from '../cache/tables.ts'
import { transactionAborted } from '../database/aborted-commit.ts'
import { endedForTime, transactionTimedOut } from '../database/database-unreachable.ts'
import { explainNoConnection } from '../database/driver-errors.ts'
import { classifyFailure, comesFrom, followsFailure, isCausedBy, wasNeverSent } from '../database/failure.ts'
import { migrationMissing } from '../database/migration-missing.ts'
import { permissionDenied } from '../database/permission-denied.ts'
import { DataAccessError, hasErrorCode } from '../errors.ts'
import type { CommitScope } from '../kernel/commit-scope.ts'
import { outboxTables } from '../outbox/store/tables.ts'

/** The tables that a unit itself writes. */
const ours: readonly string[] = [...outboxTables.names, ...cacheTables.names]

/** Says why a unit of work failed, where the driver's error does not. What the work itself throws is returned as it is. */
export function describeFailure(error: unknown, scope: CommitScope | undefined, connection: Connection): unknown {
  if (!isCausedBy(connection, error)) return error
  // Of what travels with the commit MikroORM tells nothing. Which tables are a module's the connection has told by now.
  const missing = migrationMissing(error, (table) => (ours.includes(table) ? 'Run `await data.migrate()`' : undefined))
  if (missing !== undefined) return missing
  const denied = comesFrom(error, connection) ? permissionDenied(error) : undefined
  if (denied !== undefined) return denied
  if (comesFrom(error, connection) && endedForTime(error)) return transactionTimedOut(error)
  const told = describeAborted(error, connection)
  if (hasErrorCode(told, 'TRANSACTION_ABORTED')) return told
  if (classifyFailure(error, connection) !== 'connection') return error
  if (scope?.phase !== 'committing' || wasNeverSent(error)) return explainNoConnection(error, connection)
  // A connection lost while the commit was on its way leaves open whether it took place.
  return new DataAccessError(
    'COMMIT_OUTCOME_UNKNOWN',
    'The connection was lost while the commit was on its way, so it may or may not have taken place; read the data before trying again',
    { cause: error },
  )
}

/** Says of a transaction or savepoint in which a statement had failed, and whose error was caught, that it cannot be kept. */
function describeAborted(error: unknown, connection: Connection): unknown {
  // The flush before its end met it so, or the end itself.
  return !hasErrorCode(error, 'TRANSACTION_ABORTED') && followsFailure(error, connection) ? transactionAborted(error) : error
}

/** Says why a nested unit of work failed, where the driver's error does not. */
export function describeNested(error: unknown, connection: Connection): unknown {
  if (!isCausedBy(connection, error)) return error
  if (comesFrom(error, connection) && endedForTime(error)) return transactionTimedOut(error)
  const told = describeAborted(error, connection)
  return classifyFailure(told, connection) === 'connection' ? explainNoConnection(told, connection) : told
}

/** Why a transaction cannot be kept in which a flush failed: MikroORM has forgotten what that was to write, events are still there. */
export function lostFlush(error: unknown, em: EntityManager): unknown {
  // The commit would meet the same.
  if (classifyFailure(error, em.getConnection('write')) === 'connection') return error
  return new DataAccessError(
    'TRANSACTION_ABORTED',
    'A transaction or savepoint with a unit of work was not kept, since a flush in it had failed and its error was caught: MikroORM forgets what such a flush was to write. Let the error through, or run what may fail in a nested unit of work',
    { cause: error },
  )
}

/** Why a transaction cannot be kept of which a nested unit failed, and its rows are still there: its events are not. */
export function notRolledBack(error: unknown, em: EntityManager): unknown {
  if (hasErrorCode(error, 'TRANSACTION_ENDED') || classifyFailure(error, em.getConnection('write')) === 'connection') return error
  return new DataAccessError(
    'TRANSACTION_ABORTED',
    'A transaction was not kept, since the savepoint of a nested unit of work in it could not be rolled back, or was ended by hand; leave savepoints of units to them',
    { cause: error },
  )
}

/** For a transaction in which no savepoint can be opened. */
export function withoutSavepoints(): DataAccessError {
  return new DataAccessError(
    'OPTION_INVALID',
    'unitOfWork: the transaction around it was begun with `ignoreNestedTransactions`, so it cannot be divided; begin it without',
  )
}

/** For a unit whose work has ended the transaction by itself. */
export function endedInside(): DataAccessError {
  return new DataAccessError(
    'TRANSACTION_ENDED',
    'The transaction of a unit of work was rolled back inside it; to roll a unit back, throw, and leave begin, commit and rollback to it',
  )
}

/** @param what was to end the transaction of a unit of work, which the unit does itself. */
export function endedByHand(what: string): DataAccessError {
  return new DataAccessError(
    'TRANSACTION_ENDED',
    `${what} was to end the transaction of a unit of work. To roll a unit back, throw; to commit a part of it, use a nested unit, or another one`,
  )
}

/** For `begin()` in a unit, after which its entity manager would be in another transaction, and then in none. */
export function begunInside(): DataAccessError {
  return new DataAccessError(
    'TRANSACTION_FORK',
    'em.begin() in the transaction of a unit of work would take the `em` out of it; use a nested unit or em.transactional(), and for a transaction of its own data.fork()',
  )
}

/** For a unit that met a conflict in its last try as well. */
export function exhausted(attempts: number, cause: unknown): DataAccessError {
  return new DataAccessError(
    'UNIT_RETRIES_EXHAUSTED',
    `The unit of work met a conflict with other transactions in each of its attempts (${attempts}); nothing was saved. Make it shorter, or allow more attempts`,
    { cause, context: { attempts } },
  )
}
