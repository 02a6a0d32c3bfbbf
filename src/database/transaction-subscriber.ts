import type { EntityManager, EventSubscriber, FlushEventArgs, Transaction, TransactionEventArgs } from '@mikro-orm/core'
import { DataAccessError } from '../errors.ts'
import { CommitScope, type ScopeLayer } from '../kernel/commit-scope.ts'
import type { CommitParticipant, ReportError } from './commit-participant.ts'
import { createdBy, createdEntities, removedBy, removedEntities } from './created-entities.ts'
import { refuseDetached } from './detached.ts'
import { changesOf, notePutOff } from './flushed-changes.ts'
import { outerWrite, writeBeside, writes } from './refused-writes.ts'

/**
 * The one subscriber that this library registers with MikroORM. It turns MikroORM's transaction events, which fire for
 * savepoints as for root transactions, into the few moments that participants need, each for the root transaction alone.
 */
export class TransactionSubscriber implements EventSubscriber {
  readonly #participants: CommitParticipant[]
  readonly #report: ReportError
  readonly #scopes = new WeakMap<Transaction, CommitScope>()
  readonly #layers = new WeakMap<Transaction, ScopeLayer>()
  readonly #managers = new WeakMap<Transaction, EntityManager>()
  /** The transaction in which an entity manager is about to open a savepoint: start events do not name the parent. */
  readonly #parents = new WeakMap<EntityManager, Transaction>()

  /** Entity managers that a unit of work has joined with a transaction of its own, which they are not in. */
  readonly #joined = new WeakSet<EntityManager>()

  constructor(participants: readonly CommitParticipant[], report: ReportError) {
    this.#participants = [...participants]
    this.#report = report
  }

  /** Adds a participant before those that are there, or in place of one of them. */
  join(participant: CommitParticipant, instead?: CommitParticipant): void {
    const place = instead === undefined ? -1 : this.#participants.indexOf(instead)
    if (place < 0) this.#participants.unshift(participant)
    else this.#participants[place] = participant
  }

  /**
   * What to register with MikroORM around the app's own subscribers: the part that hears of a commit stands before them, so
   * that none that throws can keep the news from us; the part that writes last in the transaction stands behind them.
   */
  around(subscribers: readonly EventSubscriber[]): EventSubscriber[] {
    return [
      {
        beforeTransactionStart: (args) => this.beforeTransactionStart(args),
        afterTransactionStart: (args) => this.afterTransactionStart(args),
        afterTransactionCommit: (args) => this.afterTransactionCommit(args),
        onFlush: (args) => this.onFlush(args),
        beforeTransactionRollback: (args) => this.beforeTransactionRollback(args),
        afterTransactionRollback: (args) => this.afterTransactionRollback(args),
      },
      ...subscribers,
      {
        onFlush: (args) => this.#noteRows(args),
        afterFlush: (args) => this.afterFlush(args),
        beforeTransactionCommit: (args) => this.beforeTransactionCommit(args),
      },
    ]
  }

  /** The scope of the root transaction that this entity manager is in, if it is in one that this subscriber saw begin. */
  scopeOf(em: EntityManager): CommitScope | undefined {
    const transaction = em.getTransactionContext()
    return transaction === undefined ? undefined : this.scopeIn(transaction as object)
  }

  /** The scope that a transaction or savepoint belongs to, if this subscriber saw it begin. */
  scopeIn(transaction: object): CommitScope | undefined {
    return this.#scopes.get(transaction)
  }

  /**
   * Refuses writes of an entity manager while a unit of work that joined it has its own transaction, beside which they would go.
   *
   * @returns ends that.
   */
  holdBack(em: EntityManager): () => void {
    this.#joined.add(em)
    let joined = true
    return () => {
      if (joined) this.#joined.delete(em)
      joined = false
    }
  }

  /** The entity manager whose transaction this is, if this subscriber saw it begin. */
  managerOf(transaction: object): EntityManager | undefined {
    return this.#managers.get(transaction)
  }

  beforeTransactionStart({ em, transaction }: TransactionEventArgs): void {
    if (transaction === undefined) this.#parents.delete(em)
    else this.#parents.set(em, transaction as object)
  }

  afterTransactionStart({ em, transaction }: TransactionEventArgs): void {
    this.#managers.set(transaction as object, em)
    if (!isSavepoint(transaction)) {
      const opened = new CommitScope()
      this.#scopes.set(transaction as object, opened)
      this.#layers.set(transaction as object, opened.layer)
      return
    }
    const parent = this.#parents.get(em)
    const scope = parent === undefined ? undefined : this.#scopes.get(parent)
    if (scope === undefined) return
    this.#layers.set(transaction as object, scope.openSavepoint(transaction.savepointName, transaction))
    this.#scopes.set(transaction as object, scope)
  }

  /** Refuses a write below the savepoint of a nested unit, other than a flush. What is written below fails, even if this is caught. */
  refuseOuter(transaction: object): void {
    const layer = this.#belowUnit(transaction)
    if (layer === undefined) return
    layer.fault = outerWrite()
    throw layer.fault
  }

  /** Whether this entity manager may write nothing, since a unit of work is running that has its entities. */
  isHeld(em: EntityManager): boolean {
    return this.#joined.has(em) || this.#belowUnit(em.getTransactionContext()) !== undefined
  }

  /** The layer of a transaction, if a nested unit has its savepoint open above it. */
  #belowUnit(transaction: object | undefined): ScopeLayer | undefined {
    const layer = transaction === undefined ? undefined : this.#layers.get(transaction)
    return layer !== undefined && this.scopeIn(transaction as object)?.unitAbove(layer) === true ? layer : undefined
  }

  /** Keeps the commit, or the release of a savepoint, from a transaction in which a unit of work runs or has run, whoever catches this error. */
  fail(transaction: object, fault: unknown): void {
    const layer = this.#layers.get(transaction)
    if (layer !== undefined && this.scopeIn(transaction)?.hasUnit === true) layer.fault ??= fault
  }

  /** Refuses what must not be written. */
  onFlush({ em, uow }: FlushEventArgs): void {
    const transaction = em.getTransactionContext() as object | undefined
    const layer = transaction === undefined ? undefined : this.#layers.get(transaction)
    notePutOff(em, uow)
    try {
      refuseDetached(uow.getChangeSets())
      if (this.#joined.has(em) && writes(uow)) throw writeBeside()
      if (transaction !== undefined && this.#belowUnit(transaction) !== undefined && writes(uow)) throw outerWrite()
    } catch (error) {
      // MikroORM forgets what a failed flush was to write, so the transaction must not commit even if this is caught.
      if (layer !== undefined) layer.fault = error
      throw error
    }
  }

  /** Before they are written: MikroORM takes what it was to insert for stored also when the flush failed half way. */
  #noteRows({ em, uow }: FlushEventArgs): void {
    const scope = this.scopeOf(em)
    if (scope?.hasUnit !== true) return
    const layer = this.#layers.get(em.getTransactionContext() as object)
    const [created, removed] = [createdBy(uow.getChangeSets()), removedBy(uow)]
    if (created.length > 0) scope.append(createdEntities, created, layer)
    if (removed.length > 0) scope.append(removedEntities, removed, layer)
  }

  /** Inside an explicit transaction the flush ends here; an implicit flush has already committed. */
  afterFlush({ em, uow }: FlushEventArgs): void {
    const scope = this.scopeOf(em)
    if (scope !== undefined) this.#flushed(em, uow, scope)
  }

  async beforeTransactionCommit({ em, uow, transaction }: TransactionEventArgs): Promise<void> {
    const scope = this.#scopes.get(transaction as object)
    if (scope === undefined) return
    // Only an implicit flush still has its change sets here; an explicit one was reported by afterFlush and cleared them.
    if (uow !== undefined) this.#flushed(em, uow, scope)
    this.#refuseEnd(transaction as object, scope)
    if (isSavepoint(transaction)) return
    scope.phase = 'closing'
    for (const participant of this.#participants) await participant.beforeCommit?.({ em, scope })
    scope.phase = 'committing'
  }

  async afterTransactionCommit({ em, transaction }: TransactionEventArgs): Promise<void> {
    const scope = this.#scopes.get(transaction as object)
    if (scope === undefined) return
    if (isSavepoint(transaction)) {
      scope.releaseSavepoint(transaction.savepointName)
      return
    }
    scope.phase = 'committed'
    scope.over = true
    await this.#tell('afterCommit', em, scope)
  }

  async beforeTransactionRollback({ em, transaction }: TransactionEventArgs): Promise<void> {
    const scope = this.#scopes.get(transaction as object)
    if (scope?.phase === 'committing' && !isSavepoint(transaction)) await this.#tell('commitFailed', em, scope)
  }

  afterTransactionRollback({ transaction }: TransactionEventArgs): void {
    const scope = this.#scopes.get(transaction as object)
    if (scope === undefined) return
    if (isSavepoint(transaction)) scope.rollbackSavepoint(transaction.savepointName)
    else scope.over = true
  }

  /** A unit of work alone ends its transaction, and a transaction waits for the units inside it. */
  #refuseEnd(transaction: object, scope: CommitScope): void {
    const layer = this.#layers.get(transaction)
    if (layer === undefined) return
    if (layer.fault !== undefined) throw layer.fault
    if (layer.unit !== 'running' && !scope.unitAbove(layer)) return
    throw new DataAccessError(
      'TRANSACTION_ENDED',
      'A transaction was to commit while a unit of work in it was still running, which would have lost what that does next; await all units inside, and leave the commit to the outermost',
    )
  }

  async #tell(news: 'afterCommit' | 'commitFailed', em: EntityManager, scope: CommitScope): Promise<void> {
    for (const participant of this.#participants) {
      try {
        await participant[news]?.({ em, scope })
      } catch (error) {
        this.#report(error, participant.name)
      }
    }
  }

  #flushed(em: EntityManager, uow: FlushEventArgs['uow'], scope: CommitScope): void {
    if (!writes(uow)) return
    const [changeSets, collections] = [changesOf(uow), uow.getCollectionUpdates()]
    for (const participant of this.#participants) participant.flushed?.({ em, changeSets, collections, scope })
  }
}

function isSavepoint(transaction: Transaction | undefined): transaction is { readonly savepointName: string } {
  return transaction !== undefined && 'savepointName' in (transaction as object)
}
