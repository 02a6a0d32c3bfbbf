import { type EntityManager, type MikroORM, TransactionPropagation, ValidationError } from '@mikro-orm/core'
import { overrideManagers } from '../database/override-managers.ts'
import type { TransactionSubscriber } from '../database/transaction-subscriber.ts'
import type { CommitScope } from '../kernel/commit-scope.ts'

/** Root transactions in which a unit of work runs, or has run. */
const withUnits = new WeakSet<CommitScope>()

/** Those that have just been flushed by us. */
const flushed = new WeakSet<EntityManager>()

/** Where savepoints are watched already: an ORM may be given to one data access after another. */
const watched = new WeakSet<TransactionSubscriber>()

/** Notes that a unit of work runs in a transaction. */
export function noteUnit(scope: CommitScope): void {
  withUnits.add(scope)
}

/** Opens a savepoint in an entity manager that has nothing to flush. */
export function openSavepoint<Result>(em: EntityManager, perform: (inner: EntityManager) => Promise<Result>): Promise<Result> {
  flushed.add(em)
  try {
    return em.transactional(perform)
  } finally {
    flushed.delete(em)
  }
}

/**
 * Flushes an entity manager of a unit's transaction before a savepoint of the application's own is opened in it. Else MikroORM
 * would write the pending edits inside the savepoint, and take them for saved also after its rollback: the unit would commit its
 * events without the rows of which they tell.
 */
export function flushBeforeSavepoints(orm: MikroORM, subscriber: TransactionSubscriber): void {
  if (watched.has(subscriber)) return
  watched.add(subscriber)
  overrideManagers(orm.em, ({ own, define }) => {
    define('transactional', async function (...args: Parameters<EntityManager['transactional']>) {
      const em = this.getContext(false)
      const scope = flushed.has(em) ? undefined : subscriber.scopeOf(em)
      // An application asks for a transaction that is new, or for none, in order to write beside the unit.
      const { propagation = TransactionPropagation.NESTED } = args[1] ?? {}
      if (scope !== undefined && withUnits.has(scope) && propagation === TransactionPropagation.NESTED) await flush(em)
      return own.transactional.apply(this, args)
    })
  })
}

/** From a lifecycle hook MikroORM refuses it: what is pending there is being written already. */
async function flush(em: EntityManager): Promise<void> {
  try {
    await em.flush()
  } catch (error) {
    const inHook = error instanceof ValidationError && error.message === ValidationError.cannotCommit().message
    if (!inHook) throw error
  }
}
