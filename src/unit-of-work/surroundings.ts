import { type EntityManager, type MikroORM, TransactionContext } from '@mikro-orm/core'
import { isOver, type TransactionState } from '../database/transaction-states.ts'
import type { TransactionSubscriber } from '../database/transaction-subscriber.ts'
import { DataAccessError } from '../errors.ts'
import type { ActiveUnit } from './active-unit.ts'
import { standsBeside } from './asides.ts'

/** Where the transactions of one ORM are seen. */
export interface TransactionWatch {
  readonly orm: MikroORM
  readonly subscriber: TransactionSubscriber
  /** Tells the innermost open transaction in whose callback the caller stands: MikroORM's own context may be that of another ORM. */
  readonly guard: { readonly surrounding: object | undefined; ended(transaction: object): boolean }
}

/**
 * The entity manager for a unit to join: the one that it is given, else that of the innermost transaction around the caller,
 * whether it is a unit's or the application's own; undefined if there is none.
 *
 * @param unit the innermost unit around the caller, which may have ended.
 * @throws DataAccessError `TRANSACTION_ENDED` if that transaction is about to commit or the unit was rolled back, `TRANSACTION_FORK` if another one is open inside it.
 */
export function managerToJoin(
  watch: TransactionWatch,
  unit: ActiveUnit | undefined,
  given: EntityManager | undefined,
): EntityManager | undefined {
  const em = given === undefined ? around(watch, unit) : notGlobal(given.getContext(false))
  refuseOuter(em, unit)
  return em
}

function notGlobal(em: EntityManager): EntityManager | undefined {
  return em.global ? undefined : em
}

function around(watch: TransactionWatch, unit: ActiveUnit | undefined): EntityManager | undefined {
  if (unit?.active === false && unit.lost) throw lostAround()
  if (unit?.active === false && !unit.over) throw endingAround()
  const innermost = innermostManager(watch)
  const ambient = TransactionContext.currentTransactionContext()?.em
  if ((ambient?.getDriver() === watch.orm.driver && standsBeside(ambient)) || standsBeside(innermost)) return undefined
  const scope = innermost && watch.subscriber.scopeOf(innermost)
  if (innermost === undefined || scope?.over === true) return unit?.active === true ? unit.em : undefined
  if (scope !== undefined && scope.phase !== 'open') throw endingAround()
  return innermost
}

function innermostManager({ orm, subscriber, guard }: TransactionWatch): EntityManager | undefined {
  const ambient = TransactionContext.currentTransactionContext()?.em
  const own = ambient?.getDriver() === orm.driver ? (ambient.getTransactionContext() as TransactionState | undefined) : undefined
  if (own !== undefined && !isOver(own)) return ambient
  const transaction = guard.surrounding
  const em = transaction === undefined ? undefined : subscriber.managerOf(transaction)
  // An implicit flush has a transaction that its entity manager is not in.
  return em?.getTransactionContext() === transaction ? em : undefined
}

/** What is done in an outer entity manager while an inner one is open would go beside the inner one's transaction. */
function refuseOuter(em: EntityManager | undefined, innermost: ActiveUnit | undefined): void {
  const transaction = em?.getTransactionContext()
  // A fork may have been made in the transaction of its origin.
  const same = (other: EntityManager) =>
    other === em ||
    (transaction !== undefined && other.getContext(false) === other && other.getTransactionContext() === transaction)
  for (let unit = innermost; unit?.active === true; unit = unit.parent) {
    if (unit.suspends.some(same)) {
      throw new DataAccessError(
        'TRANSACTION_FORK',
        'unitOfWork was given the `em` of an outer unit while one inside it is open; use the `em` of the innermost unit',
      )
    }
  }
}

function endingAround(): DataAccessError {
  return new DataAccessError(
    'TRANSACTION_ENDED',
    'unitOfWork was called after the work around it had ended and before its commit was over; await all work inside the transaction',
  )
}

/** Work that nobody waits for any more must not be saved where the rest of its unit was not. */
function lostAround(): DataAccessError {
  return new DataAccessError(
    'TRANSACTION_ENDED',
    'unitOfWork was called after the unit around it had been rolled back, by work of that unit which still ran; await all work inside a unit also when a part of it fails (`Promise.allSettled`), and start what shall outlive it outside',
  )
}
