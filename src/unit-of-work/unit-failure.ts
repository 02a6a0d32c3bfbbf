import type { Connection } from '@mikro-orm/core'
import { transactionAborted } from '../database/aborted-commit.ts'
import { explainNoConnection } from '../database/driver-errors.ts'
import { classifyFailure, followsFailure, isCausedBy, wasNeverSent } from '../database/failure.ts'
import { migrationMissing } from '../database/migration-missing.ts'
import { DataAccessError, hasErrorCode } from '../errors.ts'
import type { CommitScope } from '../kernel/commit-scope.ts'

/** Says why a unit of work failed, where the driver's error does not. What the work itself throws is returned as it is. */
export function describeFailure(error: unknown, scope: CommitScope | undefined, connection: Connection): unknown {
  if (!isCausedBy(connection, error)) return error
  const missing = migrationMissing(error)
  if (missing !== undefined) return missing
  if (hasErrorCode(error, 'TRANSACTION_ABORTED')) return error
  // The flush before the commit met a transaction in which a statement had failed, and whose error was caught.
  if (followsFailure(error, connection)) return transactionAborted(error)
  if (classifyFailure(error, connection) !== 'connection') return error
  if (scope?.phase !== 'committing' || wasNeverSent(error)) return explainNoConnection(error, connection)
  // A connection lost while the commit was on its way leaves open whether it took place.
  return new DataAccessError(
    'COMMIT_OUTCOME_UNKNOWN',
    'The connection was lost while the commit was on its way, so it may or may not have taken place; read the data before trying again',
    { cause: error },
  )
}
