import { AsyncLocalStorage } from 'node:async_hooks'
import { type EntityManager, type MikroORM, TransactionContext } from '@mikro-orm/core'
import { classifyFailure } from '../database/failure.ts'
import { dialectOf, runSql } from '../database/sql.ts'
import type { TransactionSubscriber } from '../database/transaction-subscriber.ts'
import { DataAccessError } from '../errors.ts'
import { fullJitter } from '../kernel/backoff.ts'
import type { Clock } from '../kernel/clock.ts'
import type { CommitScope } from '../kernel/commit-scope.ts'
import type { Logger } from '../kernel/logger.ts'
import type { EventDefinitions } from '../outbox/event/event-definitions.ts'
import { ActiveUnit } from './active-unit.ts'
import { EntitySnapshot } from './entity-snapshot.ts'
import { allowedAttempts } from './retry.ts'
import { describeFailure } from './unit-failure.ts'
import { checkUnitOptions, type UnitOfWorkOptions, type Work } from './unit-of-work.ts'

/** The waits between tries: short, since a conflict is over when the other transaction is. */
const retryBackoff = { baseMs: 10, maxMs: 500 }

/** What a {@link UnitRunner} works with. */
export interface UnitRunnerParts {
  readonly orm: MikroORM
  readonly subscriber: TransactionSubscriber
  /** What may be recorded. */
  readonly events: EventDefinitions
  readonly clock: Clock
  readonly logger: Logger
}

/** Kysely's transaction tells whether the database confirmed its commit. */
type TransactionState = { readonly isCommitted: boolean; readonly isRolledBack: boolean }

type Outside = ActiveUnit['outside']

/** Runs units of work: one transaction each, or a savepoint inside the one that is already there. */
export class UnitRunner {
  readonly #parts: UnitRunnerParts
  readonly #current = new AsyncLocalStorage<ActiveUnit>()
  /** Per entity manager the last savepoint that was asked for. */
  readonly #turns = new WeakMap<EntityManager, Promise<unknown>>()

  constructor(parts: UnitRunnerParts) {
    this.#parts = parts
  }

  /** Whether the caller stands in a unit of work that is running. */
  get inside(): boolean {
    return this.#current.getStore()?.active === true
  }

  async run<Result>(work: Work<Result>, options: UnitOfWorkOptions = {}): Promise<Result> {
    checkUnitOptions(options)
    const attempts = allowedAttempts(options.retry)
    const outside = AsyncLocalStorage.snapshot()
    const surrounding = this.#surrounding(options)
    this.#refuseOuter(surrounding)
    if (surrounding?.isInTransaction() === true) {
      if (options.isolation === undefined) return this.#savepoint(work, surrounding, outside)
      throw new DataAccessError(
        'OPTION_INVALID',
        'unitOfWork: isolation belongs to a root transaction, and this unit is a savepoint inside one; set it on the outer unit',
      )
    }
    // Two forks of one entity manager would both write its edits.
    if (surrounding !== undefined) {
      return this.#inTurn(surrounding, () => this.#transaction(work, surrounding, options, 1, outside))
    }
    return this.#retrying(work, options, attempts, outside)
  }

  /** The entity manager to join: the one given, else the one of the unit or transaction around the caller. */
  #surrounding({ em }: UnitOfWorkOptions): EntityManager | undefined {
    if (em !== undefined) {
      const resolved = em.getContext(false)
      return resolved.global ? undefined : resolved
    }
    const unit = this.#current.getStore()
    if (unit?.active === true) return unit.em
    if (unit?.over === false) throw endingAround()
    const ambient = TransactionContext.currentTransactionContext()?.em
    if (ambient === undefined || ambient.getDriver() !== this.#parts.orm.driver) return undefined
    const state = ambient.getTransactionContext() as TransactionState | undefined
    const open = state !== undefined && !state.isCommitted && !state.isRolledBack
    const scope = this.#parts.subscriber.scopeOf(ambient)
    // A savepoint's own state does not hear of the root's end; its scope does.
    if (!open || scope?.over === true) return undefined
    if (scope !== undefined && scope.phase !== 'open') throw endingAround()
    return ambient
  }

  /** What is done in an outer entity manager while an inner one is open would go beside the inner one's transaction. */
  #refuseOuter(em: EntityManager | undefined): void {
    for (let unit = this.#current.getStore(); unit?.active === true; unit = unit.parent) {
      if (unit.joined === em) {
        throw new DataAccessError(
          'TRANSACTION_FORK',
          'unitOfWork was given the `em` of an outer unit while one inside it is open; use the `em` of the innermost unit',
        )
      }
    }
  }

  async #retrying<Result>(work: Work<Result>, options: UnitOfWorkOptions, attempts: number, outside: Outside): Promise<Result> {
    for (let attempt = 1; ; attempt++) {
      // Each try needs a fork of its own: after a failed flush the old one would write the same changes again.
      const em = this.#parts.orm.em.fork({ disableContextResolution: true })
      try {
        return await this.#transaction(work, em, options, attempt, outside)
      } catch (error) {
        if (classifyFailure(error) !== 'conflict' || options.retry === false) throw error
        if (attempt >= attempts) {
          throw exhausted(attempts, error)
        }
        await this.#parts.clock.wait(fullJitter(retryBackoff, attempt))
      }
    }
  }

  async #transaction<Result>(
    work: Work<Result>,
    em: EntityManager,
    { isolation }: UnitOfWorkOptions,
    attempt: number,
    outside: Outside,
  ): Promise<Result> {
    let scope: CommitScope | undefined
    let result: { readonly value: Result } | undefined
    const perform = async (inner: EntityManager) => {
      scope = this.#scopeOf(inner)
      // A deferred transaction that upgrades from read to write can fail at once; one that begins with the lock waits.
      if (dialectOf(inner) === 'sqlite') await runSql(inner, 'update outbox_sequence set value = value where id = 1')
      const unit = new ActiveUnit(inner, scope, { joined: em, parent: undefined, attempt, outside, events: this.#parts.events })
      result = { value: await this.#perform(work, unit) }
    }
    try {
      await em.transactional(perform, isolation === undefined ? {} : { isolationLevel: isolation })
    } catch (error) {
      if (scope?.phase !== 'committed') throw describeFailure(error, scope, em.getConnection('write'))
      // Another subscriber threw after the commit. To reject now would make the caller do the work twice.
      this.#parts.logger.error('A subscriber of the application threw after the commit; the commit stands', { error })
    } finally {
      // Of a rollback over a lost connection MikroORM does not tell.
      if (scope !== undefined) scope.over = true
    }
    return (result as { readonly value: Result }).value
  }

  /** Savepoints of one transaction form a stack: siblings that ran at once would release each other's, so they take turns. */
  #savepoint<Result>(work: Work<Result>, em: EntityManager, outside: Outside): Promise<Result> {
    const parent = this.#current.getStore()
    const attempt = parent?.em === em ? parent.attempt : 1
    const surroundings = { joined: em, parent, attempt, outside: parent?.outside ?? outside, events: this.#parts.events }
    return this.#inTurn(em, async () => {
      const snapshot = await EntitySnapshot.take(em)
      try {
        const perform = (inner: EntityManager) => {
          // No savepoint was opened: the unit would wait for its own turn.
          if (inner === em) throw withoutSavepoints()
          return this.#perform(work, new ActiveUnit(inner, this.#scopeOf(inner), surroundings))
        }
        return await em.transactional(perform)
      } catch (error) {
        await snapshot.restore()
        throw error
      }
    })
  }

  #inTurn<Result>(em: EntityManager, run: () => Promise<Result>): Promise<Result> {
    const turn = (this.#turns.get(em) ?? Promise.resolve()).then(run)
    this.#turns.set(
      em,
      turn.catch(() => {}),
    )
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
    for (let last: unknown, turn = this.#turns.get(unit.em); turn !== last; turn = this.#turns.get(unit.em)) {
      await turn
      last = turn
    }
  }

  #scopeOf(em: EntityManager): CommitScope {
    const scope = this.#parts.subscriber.scopeOf(em)
    if (scope !== undefined) return scope
    throw new DataAccessError(
      'OPTION_INVALID',
      'unitOfWork: this entity manager does not belong to this data access, or was forked with `freshEventManager`; events recorded in it would be lost',
    )
  }
}

function withoutSavepoints(): DataAccessError {
  return new DataAccessError(
    'OPTION_INVALID',
    'unitOfWork: the transaction around it was begun with `ignoreNestedTransactions`, so it cannot be divided; begin it without',
  )
}

function endingAround(): DataAccessError {
  return new DataAccessError(
    'TRANSACTION_ENDED',
    'unitOfWork was called after the work around it had ended and before its commit was over; await all work inside the transaction',
  )
}

function endedInside(): DataAccessError {
  return new DataAccessError(
    'TRANSACTION_ENDED',
    'The transaction of a unit of work was rolled back inside it; to roll a unit back, throw, and leave begin, commit and rollback to it',
  )
}

function exhausted(attempts: number, cause: unknown): DataAccessError {
  return new DataAccessError(
    'UNIT_RETRIES_EXHAUSTED',
    `The unit of work met a conflict with other transactions in each of its attempts (${attempts}); nothing was saved. Make it shorter, or allow more attempts`,
    { cause, context: { attempts } },
  )
}
