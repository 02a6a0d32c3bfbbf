import { DataAccessError } from '../errors.ts'

/** How often a unit of work is run again after a conflict that the database resolved against it. */
export interface UnitRetryOptions {
  /** All tries together, from 1. Default 5. */
  readonly attempts?: number
}

/** The tries that the options allow. */
export function allowedAttempts(retry: UnitRetryOptions | false | undefined): number {
  const attempts = retry === false ? 1 : (retry?.attempts ?? 5)
  if (Number.isInteger(attempts) && attempts >= 1) return attempts
  throw new DataAccessError('OPTION_INVALID', `unitOfWork: retry.attempts must be a whole number from 1, not ${attempts}`)
}
