import { AsyncLocalStorage } from 'node:async_hooks'
import {
  type EntityManager,
  type MikroORM,
  OptimisticLockError,
  TransactionContext,
  TransactionManager,
  TransactionPropagation,
} from '@mikro-orm/core'
import { hasPutOff } from '../database/flushed-changes.ts'
import { overrideManagers } from '../database/override-managers.ts'
import type { TransactionSubscriber } from '../database/transaction-subscriber.ts'
import type { CommitScope } from '../kernel/commit-scope.ts'
import { Turns } from './turns.ts'
import { lostFlush } from './unit-failure.ts'
import { endStreams, watchStatements } from './unit-statements.ts'

/** The turns of all that opens savepoints in one entity manager, or joins it: units of work, and transactions of the application's own. */
export const turns = new Turns()

/** Those in which a unit is about to open a transaction or savepoint: it has its turn, and has flushed. */
const ready = new WeakSet<EntityManager>()

/** Those of `NOT_SUPPORTED`: they stand in a transaction and are not in it. */
const besides = new WeakSet<EntityManager>()

/** Where transactions are watched already: an ORM may be given to one data access after another. */
const watched = new WeakSet<TransactionSubscriber>()

type Transactional = EntityManager['transactional']

/** A flush, and that in whose hook it was asked for. */
interface Flush {
  readonly em: EntityManager
  readonly around: Flush | undefined
  over: boolean
}

const flushes = new AsyncLocalStorage<Flush>()

/** Whether the caller stands in a lifecycle hook: MikroORM does not tell. */
export function insideFlush(): boolean {
  return flushes.getStore()?.over === false
}

/** MikroORM refuses a flush in a hook of one of the same entity manager, which goes on with all that it was to write. */
function isFlushing(em: EntityManager, innermost: Flush | undefined): boolean {
  for (let flush = innermost; flush !== undefined; flush = flush.around) if (flush.em === em && !flush.over) return true
  return false
}

/** A flush that fails forgets them. Edits stay in their entities, so that who catches a conflict may read anew and write again. */
function hasStacked(em: EntityManager): boolean {
  const uow = em.getUnitOfWork(false)
  return uow.getPersistStack().size + uow.getRemoveStack().size + uow.getOrphanRemoveStack().size > 0
}

/** Whether an entity manager was made by `NOT_SUPPORTED`, to work beside the transaction around it. */
export function isBeside(em: EntityManager): boolean {
  return besides.has(em)
}

/** Opens a unit's transaction, or its savepoint in an entity manager that has nothing to flush. */
export function openTransaction<Result>(
  em: EntityManager,
  ...args: Parameters<typeof em.transactional<Result>>
): Promise<Result> {
  ready.add(em)
  try {
    return em.transactional(...args)
  } finally {
    ready.delete(em)
  }
}

/**
 * Flushes an entity manager of a unit's transaction before a savepoint of the application's own is opened in it. Else MikroORM
 * would write the pending edits inside the savepoint, and take them for saved also after its rollback: the unit would commit its
 * events without the rows of which they tell. Savepoints that begin at once take turns.
 */
export function watchTransactions(orm: MikroORM, subscriber: TransactionSubscriber): void {
  if (watched.has(subscriber)) return
  watched.add(subscriber)
  watchStatements(orm, subscriber)
  overrideManagers(orm.em, ({ own, define }) => {
    define('flush', async function (): Promise<void> {
      const em = this.getContext(false)
      const transaction = em.getTransactionContext() as object | undefined
      const flush = { em, around: flushes.getStore(), over: false }
      const stacked = hasStacked(em)
      try {
        await flushes.run(flush, () => own.flush.call(this))
      } catch (error) {
        const kept = error instanceof OptimisticLockError && !stacked && !hasPutOff(em)
        if (transaction !== undefined && !kept && !isFlushing(em, flush.around))
          subscriber.fail(transaction, lostFlush(error, em))
        throw error
      } finally {
        flush.over = true
      }
    })
    define('transactional', async function (...args: Parameters<Transactional>): Promise<unknown> {
      const em = this.getContext(false)
      const scope = subscriber.scopeOf(em)
      // An application asks for a transaction that is new, or for none, in order to write beside the unit.
      const { propagation = TransactionPropagation.NESTED } = args[1] ?? {}
      const besideOwn = em.isInTransaction() && isAside(propagation)
      const transactional = besideOwn ? aside(em, propagation) : own.transactional.bind(this)
      const run = () => runWatched(subscriber, scope, args, transactional)
      // Its fork takes along what is pending, which belongs to the unit and its events.
      if (besideOwn && scope?.hasUnit === true && !insideFlush()) await em.flush()
      if (ready.has(em) || scope?.hasUnit !== true || propagation !== TransactionPropagation.NESTED) return run()
      // Whose turn it is may wait for the very flush in whose hook the caller stands; what is pending is being written already.
      if (insideFlush()) return run()
      return turns.take(em, async () => {
        subscriber.refuseOuter(em.getTransactionContext() as object)
        await em.flush()
        return run()
      })
    })
  })
}

function isAside(propagation: `${TransactionPropagation}`): boolean {
  return propagation === TransactionPropagation.REQUIRES_NEW || propagation === TransactionPropagation.NOT_SUPPORTED
}

/**
 * `transactional()` beside the transaction that this entity manager is in, and stays in. MikroORM takes it out meanwhile, although it
 * works with a fork: what other branches of the work wrote until then would commit by itself.
 */
function aside(em: EntityManager, propagation: `${TransactionPropagation}`): Transactional {
  const manager = new TransactionManager(em)
  Object.assign(manager, { suspendTransaction: () => undefined })
  if (propagation === TransactionPropagation.REQUIRES_NEW) return (work, options) => manager.handle(work, options)
  return (work, options) => {
    const beside: typeof work = (fork) => {
      besides.add(fork)
      // Else the ORM's own `em` would lead to the one that is in the transaction.
      return TransactionContext.create(fork, () => work(fork))
    }
    return manager.handle(beside, options)
  }
}

/** @param around the root transaction in which this one is opened. */
async function runWatched(
  subscriber: TransactionSubscriber,
  around: CommitScope | undefined,
  [work, options]: Parameters<Transactional>,
  run: (...args: Parameters<Transactional>) => Promise<unknown>,
): Promise<unknown> {
  let scope: CommitScope | undefined
  const watching = async (inner: EntityManager) => {
    scope = subscriber.scopeOf(inner)
    try {
      return await work(inner)
    } finally {
      await endStreams(inner)
    }
  }
  try {
    return await run(watching, options)
  } finally {
    // Of a rollback over a lost connection MikroORM does not tell, and a timer that was started inside would join it.
    if (scope !== undefined && scope !== around) scope.over = true
  }
}
