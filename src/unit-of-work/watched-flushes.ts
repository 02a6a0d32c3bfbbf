import { AsyncLocalStorage } from 'node:async_hooks'
import { type EntityManager, helper, type MikroORM, OptimisticLockError } from '@mikro-orm/core'
import { hasPendingRows, hasPutOff } from '../database/flushed-changes.ts'
import { type ManagerMethod, overrideManagers } from '../database/override-managers.ts'
import type { TransactionSubscriber } from '../database/transaction-subscriber.ts'
import { lockVersions } from '../database/version-locks.ts'
import { lostFlush } from './unit-failure.ts'

/** A flush, and that in whose hook it was asked for. */
interface Flush {
  readonly em: EntityManager
  readonly around: Flush | undefined
  over: boolean
}

const flushes = new AsyncLocalStorage<Flush>()

/** The flush behind which MikroORM queues the next ones of an entity manager. */
const running = new WeakMap<EntityManager, Promise<void>>()

/** Whether the caller stands in a lifecycle hook: MikroORM does not tell. */
export function insideFlush(): boolean {
  return flushes.getStore()?.over === false
}

/** Keeps units of work from committing behind a flush that failed, and flushes from waiting for ever behind it. */
export function watchFlushes(orm: MikroORM, subscriber: TransactionSubscriber): void {
  overrideManagers(orm.em, ({ own, define }) => {
    define('tryFlush', async function (...args: Parameters<EntityManager['tryFlush']>): Promise<void> {
      const em = this.getContext(false)
      // Before a query. What is edited in the entities that it shares is the unit's to write, and to find it nothing may be written here.
      if (!subscriber.isHeld(em) || hasOwnWork(em)) await own.tryFlush.apply(this, args)
    } as ManagerMethod)
    define('flush', async function (): Promise<void> {
      const em = this.getContext(false)
      const transaction = em.getTransactionContext() as object | undefined
      const flush = { em, around: flushes.getStore(), over: false }
      // A flush that fails forgets these. Edits stay in their entities, so that who catches a conflict may read anew and write again.
      const stacked = hasPendingRows(em)
      try {
        await runOrQueue(em, () => flushes.run(flush, () => own.flush.call(this)))
      } catch (error) {
        const kept = error instanceof OptimisticLockError && !stacked && !hasPutOff(em)
        if (transaction !== undefined && !kept && !isFlushing(em, flush.around))
          subscriber.fail(transaction, lostFlush(error, em))
        throw error
      } finally {
        flush.over = true
      }
    })
  })
}

/**
 * Fails a flush with the one behind which it was queued: MikroORM then forgets its queue, whose promises never settle, and what
 * was persisted and removed until then, so that the queued one could not write it either.
 */
function runOrQueue(em: EntityManager, flush: () => Promise<void>): Promise<void> {
  const before = running.get(em)
  if (before === undefined) return runFirst(em, flush)
  const queued = flush()
  return Promise.race([queued, before.then(() => queued)])
}

async function runFirst(em: EntityManager, flush: () => Promise<void>): Promise<void> {
  noteEnds(em)
  lockVersions(em)
  const first = flush()
  running.set(em, first)
  try {
    await first
  } finally {
    if (running.get(em) === first) running.delete(em)
  }
}

/** In the moment from which MikroORM queues nothing more, which is before the promise of the flush settles. */
function noteEnds(em: EntityManager): void {
  const uow = em.getUnitOfWork(false) as unknown as { postCommitCleanup?(): void }
  if (Object.hasOwn(uow, 'postCommitCleanup')) return
  const { postCommitCleanup } = uow
  uow.postCommitCleanup = () => {
    running.delete(em)
    postCommitCleanup?.call(uow)
  }
}

/** MikroORM refuses a flush in a hook of one of the same entity manager, which goes on with all that it was to write. */
function isFlushing(em: EntityManager, innermost: Flush | undefined): boolean {
  for (let flush = innermost; flush !== undefined; flush = flush.around) if (flush.em === em && !flush.over) return true
  return false
}

/** Whether something is to be inserted or deleted. MikroORM counts what it has loaded for a relation to many among what is persisted. */
function hasOwnWork(em: EntityManager): boolean {
  const uow = em.getUnitOfWork(false)
  const removes = uow.getRemoveStack().size + uow.getOrphanRemoveStack().size > 0
  return removes || [...uow.getPersistStack()].some((entity) => !helper(entity).__managed)
}
