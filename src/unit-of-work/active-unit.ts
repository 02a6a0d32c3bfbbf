import type { EntityManager } from '@mikro-orm/core'
import { type CreatedEntity, createdEntities, type RemovedEntity, removedEntities } from '../database/created-entities.ts'
import { DataAccessError } from '../errors.ts'
import { type CommitScope, Journal, type ScopeLayer } from '../kernel/commit-scope.ts'
import { requireFunction } from '../kernel/options.ts'
import type { EventDefinitions } from '../outbox/event/event-definitions.ts'
import { makeEvent, type RecordEvent } from '../outbox/event/recorded-event.ts'
import { recordedEvents } from '../outbox/event/recorder.ts'
import { commitHooks } from './commit-hooks.ts'
import type { UnitOfWorkContext } from './unit-of-work.ts'

/** Events that `record()` refused: whoever caught the error, the unit in which it happened does not commit. */
const refusals = new Journal<unknown>('refused events')

/** What a unit of work stands in. */
export interface UnitSurroundings {
  /** The entity managers that this unit joined or was forked from: nothing else may be done in them while it is open. */
  readonly suspends: readonly EntityManager[]
  readonly parent: ActiveUnit | undefined
  readonly attempt: number
  readonly outside: ActiveUnit['outside']
  readonly events: EventDefinitions
}

/** One unit of work while its callback runs. */
export class ActiveUnit {
  readonly em: EntityManager
  readonly suspends: readonly EntityManager[]
  readonly parent: ActiveUnit | undefined
  readonly attempt: number
  /** Runs a function in the async context in which the outermost unit was called. */
  readonly outside: <Result>(run: () => Result) => Result
  readonly context: UnitOfWorkContext
  readonly #events: EventDefinitions
  readonly #scope: CommitScope
  /** Events go to the layer of the unit that recorded them, also while a savepoint of another is open. */
  readonly #layer: ScopeLayer
  #active = true

  constructor(em: EntityManager, scope: CommitScope, { suspends, parent, attempt, outside, events }: UnitSurroundings) {
    this.em = em
    this.suspends = suspends
    this.parent = parent
    this.attempt = attempt
    this.outside = outside
    this.#events = events
    this.#scope = scope
    this.#layer = scope.layer
    this.#layer.unit = 'running'
    scope.hasUnit = true
    this.context = {
      em,
      attempt,
      record: (event, aggregate, payload, options) => this.#record(event, aggregate, payload, options),
      afterCommit: (hook) => {
        this.#requireActive('afterCommit')
        requireFunction('afterCommit', hook)
        scope.append(commitHooks, () => outside(hook), this.#layer)
      },
    }
  }

  get active(): boolean {
    return this.#active
  }

  /** Whether the root transaction is over, as far as it was heard of. */
  get over(): boolean {
    return this.#scope.over
  }

  /** Whether this unit, or one around it, was rolled back, or may have been. */
  get lost(): boolean {
    return this.#layer.rolledBack || (this.over && this.#scope.phase !== 'committed') || this.parent?.lost === true
  }

  /** Whether this unit and an entity manager in this scope are in one root transaction. */
  sharesTransaction(scope: CommitScope | undefined): boolean {
    return this.#scope === scope
  }

  end(): void {
    this.#active = false
    this.#layer.unit = 'ending'
  }

  /** Ends a failed savepoint, so that the units around it may end. @returns whether it was not rolled back, as its transaction must be then. */
  abandon(): boolean {
    return this.#scope.abandonSavepoint(this.#layer)
  }

  /** Its own entity manager and all around it. */
  get managers(): EntityManager[] {
    return [this.em, ...this.suspends, ...(this.parent?.managers ?? [])]
  }

  /** What this unit and those inside it, as far as they were kept, were to insert. */
  get created(): CreatedEntity[] {
    return this.#scope.read(createdEntities, this.#layer).flat()
  }

  /** What they were to delete. */
  get removed(): RemovedEntity[] {
    return this.#scope.read(removedEntities, this.#layer).flat()
  }

  /** Throws the first refusal that this unit still holds. */
  throwRefusal(): void {
    const refused = this.#scope.read(refusals, this.#layer)
    if (refused.length > 0) throw refused[0]
  }

  readonly #record: RecordEvent = (event, aggregate, payload, options = {}) => {
    this.#requireActive('record')
    try {
      this.#events.require(event)
      const recorded = makeEvent(event, aggregate, payload, options)
      this.#scope.append(recordedEvents, recorded, this.#layer)
      return recorded
    } catch (error) {
      this.#scope.append(refusals, error, this.#layer)
      throw error
    }
  }

  #requireActive(verb: string): void {
    if (this.#active && this.#scope.phase === 'open' && !this.#scope.over) return
    throw new DataAccessError(
      'RECORD_OUTSIDE_UNIT',
      `${verb}() was called after its unit of work had ended, so nothing would be stored; await all work inside the unit`,
    )
  }
}
