import { type EntityManager, helper, OptimisticLockError } from '@mikro-orm/core'
import { hasErrorCode } from '../errors.ts'
import { type Tries, toTries } from '../kernel/tries.ts'

/** How often a unit of work is run again after a conflict with another transaction, and after which waits. */
export interface UnitRetryOptions {
  /** All tries together, 1 to 1000. After the last one the unit fails with `UNIT_RETRIES_EXHAUSTED`. Default 10. */
  readonly attempts?: number | undefined
  /** The wait before the second try is drawn between 0 and this, in milliseconds; the bound doubles with each further one. 1 … 3,600,000, default 20. */
  readonly baseMs?: number | undefined
  /** The bound of all waits, in milliseconds, `baseMs` … 86,400,000. Default 2000, or `baseMs` if that is more. */
  readonly maxMs?: number | undefined
}

/**
 * The first waits are short, since a conflict is over when the other transaction is; there are enough of the later ones that of twenty
 * units which change one versioned row at once hardly any fails.
 */
const defaults: Tries = { attempts: 10, baseMs: 20, maxMs: 2000 }

/** What the options say, filled in. @throws DataAccessError `OPTION_INVALID`. */
export function unitTries(retry: UnitRetryOptions | false | undefined): Tries {
  return retry === false ? { ...defaults, attempts: 1 } : toTries('unitOfWork', retry ?? {}, defaults)
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
