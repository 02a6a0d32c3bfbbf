import type { FlushEventArgs } from '@mikro-orm/core'
import { DataAccessError } from '../errors.ts'

/** What an outer entity manager writes while a unit's savepoint is open would go with it when that rolls back. */
export function outerWrite(): DataAccessError {
  return new DataAccessError(
    'TRANSACTION_FORK',
    'An outer `em` was to write while a nested unit of work was open, which could roll that back; await the nested unit first, or use its `em`',
  )
}

/** A unit of work does not roll back what is flushed in the entity manager that it has joined. */
export function writeBeside(): DataAccessError {
  return new DataAccessError(
    'TRANSACTION_FORK',
    'An `em` was to write while a unit of work that has joined it was running, beside its transaction; use the `em` of the unit, or await the unit first',
  )
}

/** Whether a flush has anything to write. */
export function writes(uow: FlushEventArgs['uow']): boolean {
  return uow.getChangeSets().length > 0 || uow.getCollectionUpdates().length > 0
}
