import { helper, OptimisticLockError } from '@mikro-orm/core'
import { checkOptions, wholeFrom } from '../kernel/options.ts'

/** How often a unit of work is run again after a conflict with another transaction. */
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

/**
 * Whether a flush found that another transaction had changed or deleted a versioned entity since it was read. Not so a version that the
 * work itself asked for, by `lockVersion` or `em.lock()`: it comes from outside, and reading anew does not make it right.
 *
 * @param driver of the ORM whose units are run again.
 */
export function isVersionConflict(error: unknown, driver: object): boolean {
  // MikroORM has one class for both, and tells them apart by its words alone.
  if (!(error instanceof OptimisticLockError) || !/^The optimistic lock on entity .* failed$/.test(error.message)) return false
  const entity: object | undefined = error.getEntity()
  return entity !== undefined && helper(entity).__em?.getDriver() === driver
}
