import { AsyncLocalStorage } from 'node:async_hooks'
import type { EntityManager } from '@mikro-orm/core'
import { takeWriteLock } from '../database/busy-waits.ts'
import { createdEntities, makeNew } from '../database/created-entities.ts'
import { classifyFailure } from '../database/failure.ts'
import { dialectOf } from '../database/sql.ts'
import { DataAccessError } from '../errors.ts'
import { fullJitter } from '../kernel/backoff.ts'
import type { Clock } from '../kernel/clock.ts'
import type { CommitScope } from '../kernel/commit-scope.ts'
import type { Logger } from '../kernel/logger.ts'
import type { Tries } from '../kernel/tries.ts'
import type { EventDefinitions } from '../outbox/event/event-definitions.ts'
import { ActiveUnit } from './active-unit.ts'
import { commitHooks } from './commit-hooks.ts'
import { EntitySnapshot } from './entity-snapshot.ts'
import { freshFork } from './fresh-fork.ts'
import { lending } from './lent-entities.ts'
import { unitTries, VersionConflict } from './retry.ts'
import { managerToJoin, type TransactionWatch } from './surroundings.ts'
import { describeFailure, describeNested, endedInside, exhausted, notRolledBack, withoutSavepoints } from './unit-failure.ts'
import { UnitCounter } from './unit-figures.ts'
import { checkUnitOptions, type UnitOfWorkOptions, type Work } from './unit-of-work.ts'
import { insideFlush } from './watched-flushes.ts'
import { openTransaction, turns, watchTransactions } from './watched-transactions.ts'

/** What a {@link UnitRunner} works with. */
export interface UnitRunnerParts extends TransactionWatch {
  /** What may be recorded. */
  readonly events: EventDefinitions
  readonly clock: Clock
  readonly logger: Logger
}

type Outside = ActiveUnit['outside']

/** One try of a unit. */
interface Attempt {
  readonly attempt: number
  readonly outside: Outside
  /** Called with the entity manager of the transaction when the work is done, before the commit. */
  readonly performed?: (em: EntityManager) => void
  readonly committed?: () => void
}

/** Runs units of work: one transaction each, or a savepoint inside the one that is already there. */
export class UnitRunner {
  readonly #parts: UnitRunnerParts
  readonly #current = new AsyncLocalStorage<ActiveUnit>()
  readonly counter = new UnitCounter()

  constructor(parts: UnitRunnerParts) {
    this.#parts = parts
    watchTransactions(parts)
  }

  /** Whether the caller stands in a unit of work that is running. */
  get inside(): boolean {
    return this.#current.getStore()?.active === true
  }

  async run<Result>(work: Work<Result>, options: UnitOfWorkOptions = {}): Promise<Result> {
    checkUnitOptions(options)
    const tries = unitTries(options.retry)
    const outside = AsyncLocalStorage.snapshot()
    const surrounding = managerToJoin(this.#parts, this.#current.getStore(), options.em)
    if (surrounding?.isInTransaction() === true) {
      if (options.isolation === undefined) return this.#savepoint(work, surrounding, outside)
      throw new DataAccessError(
        'OPTION_INVALID',
        'unitOfWork: isolation belongs to a root transaction, and this unit is a savepoint inside one; set it on the outer unit',
      )
    }
    if (surrounding !== undefined) {
      return this.counter.ended(turns.take(surrounding, (end) => this.#joining(work, surrounding, options, outside, end)))
    }
    return this.counter.ended(this.#retrying(work, options, tries, outside))
  }

  /** @param end lets the next unit that joins this `em` begin. */
  async #joining<Result>(
    work: Work<Result>,
    em: EntityManager,
    options: UnitOfWorkOptions,
    outside: Outside,
    end: () => void,
  ): Promise<Result> {
    const letGo = this.#parts.subscriber.holdBack(em)
    const committed = () => {
      letGo()
      end()
    }
    try {
      return await this.#transaction(work, em, options, { attempt: 1, outside, committed })
    } finally {
      letGo()
    }
  }

  async #retrying<Result>(work: Work<Result>, options: UnitOfWorkOptions, tries: Tries, outside: Outside): Promise<Result> {
    let earlier: VersionConflict | undefined
    for (let attempt = 1; ; attempt++) {
      // Each try needs a fork of its own: after a failed flush the old one would write the same changes again.
      const em = freshFork(this.#parts.orm)
      try {
        return await this.#transaction(work, em, options, { attempt, outside, performed: (inner) => earlier?.refuseAgain(inner) })
      } catch (error) {
        if (error === earlier?.error || options.retry === false) throw error
        const conflict = VersionConflict.of(error, em.getDriver())
        if (conflict === undefined && classifyFailure(error, em.getConnection('write')) !== 'conflict') throw error
        earlier = conflict ?? earlier
        if (attempt >= tries.attempts) throw exhausted(tries.attempts, error)
        this.counter.retried(conflict === undefined ? 'conflict' : 'version')
        await this.#parts.clock.wait(fullJitter(tries, attempt))
      }
    }
  }

  async #transaction<Result>(
    work: Work<Result>,
    em: EntityManager,
    { isolation }: UnitOfWorkOptions,
    { attempt, outside, performed, committed }: Attempt,
  ): Promise<Result> {
    let scope: CommitScope | undefined
    let result: { readonly value: Result } | undefined
    const removals = [...em.getUnitOfWork(false).getRemoveStack()]
    const perform = async (inner: EntityManager) => {
      scope = this.#scopeOf(inner)
      // A deferred transaction that upgrades from read to write can fail at once; one that begins with the lock waits.
      if (dialectOf(inner) === 'sqlite') await takeWriteLock(inner, this.#parts.clock)
      // The first of the hooks: those behind it may start a unit on the same `em`, which must not wait for this one.
      if (committed !== undefined) scope.append(commitHooks, committed)
      // MikroORM forks what is to be inserted and updated, and not this.
      for (const entity of removals) inner.remove(entity)
      const unit = new ActiveUnit(inner, scope, {
        suspends: [em],
        parent: undefined,
        attempt,
        outside,
        events: this.#parts.events,
      })
      result = { value: await this.#perform(work, unit) }
      performed?.(inner)
    }
    try {
      await lending(em, (lend) => {
        const lendAndPerform = (inner: EntityManager) => {
          lend(inner)
          return perform(inner)
        }
        return openTransaction(em, lendAndPerform, isolation === undefined ? {} : { isolationLevel: isolation })
      })
    } catch (error) {
      if (scope?.phase !== 'committed') {
        makeNew(scope?.read(createdEntities).flat() ?? [])
        // A delete that was rolled back has taken them out of it.
        removeAgain(em, removals)
        throw describeFailure(error, scope, em.getConnection('write'))
      }
      // Another subscriber threw after the commit. To reject now would make the caller do the work twice.
      this.#parts.logger.error('A subscriber of the application threw after the commit; the commit stands', { error })
    } finally {
      // Of a rollback over a lost connection MikroORM does not tell.
      if (scope !== undefined) scope.over = true
    }
    return (result as { readonly value: Result }).value
  }

  async #savepoint<Result>(work: Work<Result>, em: EntityManager, outside: Outside): Promise<Result> {
    // In a lifecycle hook MikroORM refuses it; to wait for a turn there could be to wait for the hook itself.
    if (insideFlush()) await em.flush()
    const parent = this.#current.getStore()
    // A savepoint of the application's own may stand between them.
    const scope = this.#parts.subscriber.scopeOf(em)
    const shared = parent?.active === true && parent.sharesTransaction(scope) ? parent : undefined
    // Before the flush in front of the savepoint: when that fails, what it was to write is lost.
    if (scope !== undefined) scope.hasUnit = true
    const surroundings = {
      suspends: shared === undefined ? [em] : [em, shared.em],
      parent,
      attempt: shared?.attempt ?? 1,
      outside: parent?.outside ?? outside,
      events: this.#parts.events,
    }
    const turn = turns.take(em, async () => {
      let unit: ActiveUnit | undefined
      let snapshot: EntitySnapshot | undefined
      try {
        snapshot = await EntitySnapshot.take(em)
        return await lending(em, (lend) =>
          openTransaction(em, (inner) => {
            // No savepoint was opened: the unit would wait for its own turn.
            if (inner === em) throw withoutSavepoints()
            lend(inner)
            unit = new ActiveUnit(inner, this.#scopeOf(inner), surroundings)
            return this.#perform(work, unit)
          }),
        )
      } catch (error) {
        const around = em.getTransactionContext() as object
        // What cannot be read anew, such as edits that are kept, would be left out of what the work around writes.
        const letGo = this.#parts.subscriber.holdBack(em)
        await snapshot?.restore(unit).catch((fault) => this.#parts.subscriber.fail(around, fault))
        letGo()
        const told = describeNested(error, em.getConnection('write'))
        if (unit?.abandon() === true) this.#parts.subscriber.fail(around, notRolledBack(told, em))
        throw told
      }
    })
    if (shared !== undefined && shared.em !== em) turns.hold(shared.em, turn)
    return turn
  }

  async #perform<Result>(work: Work<Result>, unit: ActiveUnit): Promise<Result> {
    try {
      const value = await this.#current.run(unit, () => work(unit.context))
      await this.#settle(unit)
      unit.throwRefusal()
      if (unit.over) throw endedInside()
      return value
    } finally {
      await this.#settle(unit)
    }
  }

  /** A savepoint that nobody awaited must not outlive its parent, whether that commits or rolls back. */
  async #settle(unit: ActiveUnit): Promise<void> {
    unit.end()
    await turns.settle(unit.em)
  }

  #scopeOf(em: EntityManager): CommitScope {
    const scope = this.#parts.subscriber.scopeOf(em)
    if (scope !== undefined) return scope
    throw new DataAccessError(
      'OPTION_INVALID',
      'unitOfWork: this entity manager does not belong to this data access; events recorded in it would be lost',
    )
  }
}

function removeAgain(em: EntityManager, entities: readonly object[]): void {
  const unitOfWork = em.getUnitOfWork(false)
  for (const entity of entities) {
    if (unitOfWork.getIdentityMap().getByEntity?.(entity) === undefined) unitOfWork.getIdentityMap().store(entity)
    em.remove(entity)
  }
}
