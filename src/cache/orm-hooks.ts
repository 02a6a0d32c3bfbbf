import type { ChangeSet, EntityManager, EventSubscriber, FlushEventArgs, MikroORM, Transaction } from '@mikro-orm/core'
import { overrideManagers } from '../database/override-managers.ts'
import { type BulkWriteObserver, watchBulkWrites } from './bulk-writes.ts'

/** Who hears of flushes from their beginning: what fails half way, or runs in a transaction that nobody saw begin, is told by no commit. */
export interface FlushObserver {
  /** A flush is about to write. */
  flushing(flush: FlushEventArgs): Promise<void>
  /** A step of a flush is about to update or delete these rows, in the transaction if it is in one. */
  writing(em: EntityManager, changeSets: readonly ChangeSet<object>[], transaction: Transaction | undefined): Promise<void>
  /** A flush has ended well. */
  flushEnded(flush: FlushEventArgs): Promise<void>
  /** A flush has failed. What this rejects with is not told: it would hide why. */
  flushFailed(em: EntityManager): Promise<void>
}

/** What a cache hears from the ORM itself, beside its commits. */
export type OrmListener = FlushObserver & BulkWriteObserver

/** Whom each ORM tells: an ORM forgets no subscriber and no method that was put before its own. */
const listening = new WeakMap<MikroORM, FlushObserver>()
const listeningToBulkWrites = new WeakMap<MikroORM, BulkWriteObserver>()
const [hooked, subscribed] = [new WeakSet<MikroORM>(), new WeakSet<MikroORM>()]
const watched = new WeakSet<Persister>()

/** Lets a cache hear of an ORM's flushes and bulk writes, in place of a closed one that heard of them before. */
export function listenTo(orm: MikroORM, listener: OrmListener): void {
  listenToBulkWrites(orm, listener)
  listening.set(orm, listener)
  if (subscribed.has(orm)) return
  subscribed.add(orm)
  const current = () => listening.get(orm)
  watchFailures(orm, current)
  const subscriber = subscriberOf(current)
  orm.em.getEventManager().registerSubscriber(subscriber)
  // For forks with a `freshEventManager`.
  orm.config.set('subscribers', [...orm.config.get('subscribers'), subscriber])
}

/** Lets somebody hear of an ORM's bulk writes alone, in place of who heard of them, and of flushes, before. */
export function listenToBulkWrites(orm: MikroORM, listener: BulkWriteObserver): void {
  listening.delete(orm)
  listeningToBulkWrites.set(orm, listener)
  prepareToListen(orm)
}

/** Hooks an ORM before its first entity manager is made: those that were forked earlier would not tell of their bulk writes. */
export function prepareToListen(orm: MikroORM): void {
  if (hooked.has(orm)) return
  hooked.add(orm)
  const current = () => listeningToBulkWrites.get(orm)
  watchBulkWrites(orm, {
    wantsTransaction: (write) => current()?.wantsTransaction(write) === true,
    wrote: async (write) => current()?.wrote(write),
  })
}

type Current = () => FlushObserver | undefined

/** MikroORM has no event of a flush that fails. */
function watchFailures(orm: MikroORM, current: Current): void {
  overrideManagers(orm.em, ({ own, define }) => {
    define('flush', async function (): Promise<void> {
      try {
        await own.flush.call(this)
      } catch (error) {
        await current()
          ?.flushFailed(this.getContext(false))
          .catch(() => {})
        throw error
      }
    })
  })
}

function subscriberOf(current: Current): EventSubscriber {
  return {
    onFlush: (flush: FlushEventArgs) => {
      watchSteps(flush, current)
      return current()?.flushing(flush)
    },
    afterFlush: (flush: FlushEventArgs) => current()?.flushEnded(flush),
  }
}

/** The part of MikroORM's unit of work that writes the rows of a flush, step by step, and calls itself once for each schema in a step. */
interface Persister {
  executeUpdates(changeSets: ChangeSet<object>[], batched: boolean, options?: Context, ofSchema?: boolean): Promise<void>
  executeDeletes(changeSets: ChangeSet<object>[], options?: Context, ofSchema?: boolean): Promise<void>
}
interface Context {
  readonly ctx?: Transaction
}

/** MikroORM has no event of a step, between those of a flush as a whole and those of one row. */
function watchSteps({ em, uow }: FlushEventArgs, current: Current): void {
  const persister = uow.getChangeSetPersister() as unknown as Persister
  if (watched.has(persister)) return
  watched.add(persister)
  const { executeUpdates, executeDeletes } = persister
  persister.executeUpdates = async (changeSets, batched, options, ofSchema) => {
    if (ofSchema) await current()?.writing(em, changeSets, options?.ctx)
    return executeUpdates.call(persister, changeSets, batched, options, ofSchema)
  }
  persister.executeDeletes = async (changeSets, options, ofSchema) => {
    if (ofSchema) await current()?.writing(em, changeSets, options?.ctx)
    return executeDeletes.call(persister, changeSets, options, ofSchema)
  }
}
