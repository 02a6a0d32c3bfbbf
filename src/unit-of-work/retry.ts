import { type EntityManager, helper, OptimisticLockError } from '@mikro-orm/core'
import { hasErrorCode } from '../errors.ts'
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
 * A flush that found a versioned entity changed or deleted by another transaction since it was read. Not so a version that the work itself
 * asked for, by `lockVersion` or `em.lock()`: it comes from outside, and reading anew does not make it right.
 */
export class VersionConflict {
  readonly error: OptimisticLockError
  readonly #entity: object
  readonly #em: unknown

  constructor(error: OptimisticLockError, entity: object) {
    this.error = error
    this.#entity = entity
    this.#em = helper(entity).__em
  }

  /** `undefined` for any other error, and for that of another ORM than the one with this driver. */
  static of(thrown: unknown, driver: object): VersionConflict | undefined {
    // Caught by the work, it has ended the transaction all the same.
    const error = hasErrorCode(thrown, 'TRANSACTION_ABORTED') ? (thrown as Error).cause : thrown
    // MikroORM has one class for both kinds, and tells them apart by its words alone.
    if (!(error instanceof OptimisticLockError) || !/^The optimistic lock on entity .* failed$/.test(error.message))
      return undefined
    const entity: object | undefined = error.getEntity()
    if (entity === undefined || helper(entity).__em?.getDriver() !== driver) return undefined
    return new VersionConflict(error, entity)
  }

  /**
   * Throws the conflict again if the next try works with the very same object, which comes from outside and was not read anew: its edits
   * would be taken for what the row had, and the try would succeed without them.
   */
  refuseAgain(em: EntityManager): void {
    if (helper(this.#entity).__em !== this.#em || em.getUnitOfWork(false).getPersistStack().has(this.#entity)) throw this.error
  }
}
