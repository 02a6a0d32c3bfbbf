import type { EventSubscriber, FlushEventArgs, MikroORM, TransactionEventArgs } from '@mikro-orm/core'
import { watchViews } from '../database/row-views.ts'
import { type BulkWriteObserver, watchBulkWrites } from './bulk-writes.ts'

/** Who hears of flushes from their beginning: what fails half way, or runs in a transaction that nobody saw begin, is told by no commit. */
export interface FlushObserver {
  /** A flush is about to write, in its entity manager's transaction if it is in one. */
  flushing(flush: FlushEventArgs): Promise<void>
  /** A flush that is about to write may have opened this transaction for itself. */
  flushingInOwn(start: TransactionEventArgs): Promise<void>
  /** A flush has ended well. */
  flushEnded(flush: FlushEventArgs): Promise<void>
}

/** What a cache hears from the ORM itself, beside its commits. */
export type OrmListener = FlushObserver & BulkWriteObserver

/** Whom each ORM tells: an ORM forgets no subscriber and no method that was put before its own. */
const listening = new WeakMap<MikroORM, OrmListener>()
const hooked = new WeakSet<MikroORM>()

/** Lets a cache hear of an ORM's flushes and bulk writes, in place of a closed one that heard of them before. */
export function listenTo(orm: MikroORM, listener: OrmListener): void {
  const first = !listening.has(orm)
  listening.set(orm, listener)
  watchViews(orm)
  prepareToListen(orm)
  if (first) orm.em.getEventManager().registerSubscriber(subscriberOf(() => listening.get(orm) as OrmListener))
}

/** Hooks an ORM before its first entity manager is made: those that were forked earlier would not tell of their bulk writes. */
export function prepareToListen(orm: MikroORM): void {
  if (hooked.has(orm)) return
  hooked.add(orm)
  const current = () => listening.get(orm)
  watchBulkWrites(orm, {
    wantsTransaction: (write) => current()?.wantsTransaction(write) === true,
    wrote: async (write) => current()?.wrote(write),
  })
}

function subscriberOf(current: () => OrmListener): EventSubscriber {
  return {
    onFlush: (flush: FlushEventArgs) => current().flushing(flush),
    afterTransactionStart: (start: TransactionEventArgs) => current().flushingInOwn(start),
    afterFlush: (flush: FlushEventArgs) => current().flushEnded(flush),
  }
}
