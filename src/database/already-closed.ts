import { DataAccessError } from '../errors.ts'

/** @param cut why a statement that was under way has no answer. */
export function alreadyClosed(cut?: Error): DataAccessError {
  const effect = cut === undefined ? '' : '. What was under way outside of a transaction may have taken effect'
  return new DataAccessError('CLOSED', `This data access was closed, so its database cannot be used; create a new one${effect}`, {
    cause: cut,
  })
}
