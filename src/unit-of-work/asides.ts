import { AsyncLocalStorage } from 'node:async_hooks'
import {
  type EntityManager,
  type FlushEventArgs,
  TransactionContext,
  TransactionManager,
  TransactionPropagation,
} from '@mikro-orm/core'
import { DataAccessError } from '../errors.ts'

type Transactional = EntityManager['transactional']

/** Work beside a transaction, by `NOT_SUPPORTED`, with the fork that it was given, and that in which it was begun. */
interface Beside {
  readonly transaction: object
  readonly fork: EntityManager
  readonly around: Beside | undefined
}

/** Of MikroORM's own context the transaction of another ORM takes the place. */
const besides = new AsyncLocalStorage<Beside>()

/** Whether the caller works beside the transaction of an entity manager, or without one in it, by `NOT_SUPPORTED`. */
export function standsBeside(em: EntityManager | undefined): boolean {
  const transaction = em?.getTransactionContext()
  for (let beside = besides.getStore(); beside !== undefined; beside = beside.around) {
    if (beside.fork === em || (transaction !== undefined && beside.transaction === transaction)) return true
  }
  return false
}

/** Whether an application asks for a transaction that is new, or for none, in order to write beside the one that is there. */
export function isAside(propagation: `${TransactionPropagation}`): boolean {
  return propagation === TransactionPropagation.REQUIRES_NEW || propagation === TransactionPropagation.NOT_SUPPORTED
}

/**
 * `transactional()` beside the transaction that this entity manager is in, and stays in. MikroORM takes it out meanwhile, although it
 * works with a fork: what other branches of the work wrote until then would commit by itself.
 *
 * @param hasUnit whether that is the transaction of a unit of work: then what is edited in it, before and meanwhile, is written by it
 * alone. MikroORM would share the entities, and in the end put what it read of a row in place of the unit's edits.
 */
export function aside(em: EntityManager, propagation: `${TransactionPropagation}`, hasUnit: boolean): Transactional {
  const manager = new TransactionManager(em)
  Object.assign(manager, { suspendTransaction: () => undefined })
  if (hasUnit) Object.assign(manager, { shouldPropagateToUpperContext: () => false })
  const transaction = em.getTransactionContext() as object
  return (work, options) => {
    const own: typeof work = (fork) => {
      if (hasUnit) fork.getEventManager().registerSubscriber({ onFlush: ({ uow }) => refuseShared(em, uow) })
      if (propagation === TransactionPropagation.REQUIRES_NEW) return work(fork)
      // Else the ORM's own `em` would lead to the one that is in the transaction.
      return besides.run({ transaction, fork, around: besides.getStore() }, () =>
        TransactionContext.create(fork, () => work(fork)),
      )
    }
    return manager.handle(own, hasUnit ? { ...options, clear: true } : options)
  }
}

/** What is related to an entity of the unit leads MikroORM to it, and to its edits. */
function refuseShared(em: EntityManager, uow: FlushEventArgs['uow']): void {
  const outer = em.getUnitOfWork(false)
  const written = [...uow.getChangeSets().map(({ entity }) => entity), ...uow.getCollectionUpdates().map(({ owner }) => owner)]
  for (const entity of written) {
    if (outer.getIdentityMap().getByEntity(entity) !== entity && !outer.getPersistStack().has(entity)) continue
    throw new DataAccessError(
      'TRANSACTION_FORK',
      `A transaction beside a unit of work (REQUIRES_NEW, NOT_SUPPORTED) was to write a ${entity.constructor.name} that the unit has made or edited, and which is the unit's to write. Load what you change through the \`em\` of that transaction, and relate to other rows by its em.getReference()`,
    )
  }
}
