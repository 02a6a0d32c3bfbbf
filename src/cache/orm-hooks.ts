import type { EventSubscriber, FlushEventArgs, MikroORM } from '@mikro-orm/core'
import { watchViews } from '../database/row-views.ts'
import { type BulkWriteObserver, watchBulkWrites } from './bulk-writes.ts'

/** What a cache hears from the ORM itself, beside its commits. */
export interface OrmListeners {
  readonly changes: Required<Pick<EventSubscriber, 'onFlush'>>
  readonly bulkWrites: BulkWriteObserver
}

/** Whom each ORM tells: an ORM forgets no subscriber and no method that was put before its own. */
const listening = new WeakMap<MikroORM, OrmListeners>()

/** Lets a cache hear of an ORM's flushes and bulk writes, in place of a closed one that heard of them before. */
export function listenTo(orm: MikroORM, listeners: OrmListeners): void {
  const hooked = listening.has(orm)
  listening.set(orm, listeners)
  if (hooked) return
  watchViews(orm)
  const current = () => listening.get(orm) as OrmListeners
  orm.em.getEventManager().registerSubscriber({ onFlush: (args: FlushEventArgs) => current().changes.onFlush(args) })
  watchBulkWrites(orm, {
    wantsTransaction: (write) => current().bulkWrites.wantsTransaction(write),
    wrote: (write) => current().bulkWrites.wrote(write),
  })
}
