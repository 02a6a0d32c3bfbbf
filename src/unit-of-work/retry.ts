import { type EntityManager, helper, OptimisticLockError } from '@mikro-orm/core'
import { DataAccessError, hasErrorCode } from '../errors.ts'
import type { BackoffOptions } from '../kernel/backoff.ts'
import { checkOptions, numberFrom, wholeFrom } from '../kernel/options.ts'

/** How often a unit of work is run again after a conflict with another transaction, and after which waits. */
export interface UnitRetryOptions {
  /** All tries together, from 1. After the last one the unit fails with `UNIT_RETRIES_EXHAUSTED`. Default 10. */
  readonly attempts?: number | undefined
  /** The wait before the second try is drawn between 0 and this, in milliseconds; the bound doubles with each further one. Default 20. */
  readonly baseMs?: number | undefined
  /** The bound of all waits, in milliseconds, at least `baseMs`. Default 2000. */
  readonly maxMs?: number | undefined
}

/** The tries of a unit, and the waits between them. */
export type UnitTries = BackoffOptions & { readonly attempts: number }

/**
 * The first waits are short, since a conflict is over when the other transaction is; there are enough of the later ones that of twenty
 * units which change one versioned row at once hardly any fails.
 */
const defaults: UnitTries = { attempts: 10, baseMs: 20, maxMs: 2000 }

/** What the options say, filled in. @throws DataAccessError `OPTION_INVALID`. */
export function unitTries(retry: UnitRetryOptions | false | undefined): UnitTries {
  if (retry === false) return { ...defaults, attempts: 1 }
  if (retry === undefined) return defaults
  const wait = numberFrom(1, 3_600_000, ' milliseconds')
  checkOptions({ door: 'unitOfWork', under: 'retry' }, retry, { attempts: wholeFrom(1), baseMs: wait, maxMs: wait })
  const { attempts = defaults.attempts, baseMs = defaults.baseMs, maxMs = defaults.maxMs } = retry
  if (maxMs >= baseMs) return { attempts, baseMs, maxMs }
  throw new DataAccessError(
    'OPTION_INVALID',
    `unitOfWork: retry.maxMs is ${maxMs}; give ${baseMs} to 3600000, at least retry.baseMs`,
  )
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
