import { checkOptions, wholeFrom } from '../kernel/options.ts'

/** How often a unit of work is run again after a conflict that the database resolved against it. */
export interface UnitRetryOptions {
  /** All tries together, from 1. After the last one the unit fails with `UNIT_RETRIES_EXHAUSTED`. Default 5. */
  readonly attempts?: number | undefined
}

/** The tries that the options allow. */
export function allowedAttempts(retry: UnitRetryOptions | false | undefined): number {
  if (retry === false) return 1
  if (retry === undefined) return 5
  checkOptions({ door: 'unitOfWork', under: 'retry' }, retry, { attempts: wholeFrom(1) })
  return retry.attempts ?? 5
}
