import { EntityManager, IsolationLevel } from '@mikro-orm/core'
import { DataAccessError } from '../errors.ts'
import { checkOptions, either, type KnownOptions, oneOf, record } from '../kernel/options.ts'
import type { RecordEvent } from '../outbox/recorded-event.ts'
import type { CommitHook } from './commit-hooks.ts'
import type { UnitRetryOptions } from './retry.ts'

/** What the work of one unit is given. */
export interface UnitOfWorkContext {
  /** The entity manager of this unit's transaction; flushed before the commit. No other may be used inside. */
  readonly em: EntityManager
  /**
   * Records a domain event: stored if and only if this unit's changes commit, in the order of recording.
   *
   * @throws DataAccessError `EVENT_UNKNOWN` for an event that no module lists, `EVENT_PAYLOAD_REFUSED`,
   * `EVENT_PAYLOAD_NOT_JSON`, `EVENT_SCHEMA_ASYNC` or `EVENT_AGGREGATE_INVALID`, after which this unit does not commit even if the error is caught;
   * `RECORD_OUTSIDE_UNIT` once the unit has ended.
   */
  readonly record: RecordEvent
  /**
   * Runs a hook once the root transaction has committed, and never for a savepoint or an attempt that was rolled back. Hooks
   * run one after the other before `unitOfWork()` resolves; what they throw is logged and cannot undo the commit.
   */
  readonly afterCommit: (hook: CommitHook) => void
  /** Which try this is, from 1. */
  readonly attempt: number
}

/** What a unit of work runs. */
export type Work<Result, Context = UnitOfWorkContext> = (unit: Context) => Promise<Result>

/** How a unit of work is run. */
export interface UnitOfWorkOptions {
  /**
   * Join this entity manager, such as a request's: edits already made in it are saved. In a transaction the unit becomes a
   * savepoint. Without it the unit joins the unit or transaction around it, or else gets a fresh fork.
   */
  readonly em?: EntityManager
  /** The isolation level of a root transaction. Default: the database's. */
  readonly isolation?: IsolationLevel | `${IsolationLevel}`
  /** For a unit with its own fork: run again, with a fresh one, after a serialization failure or deadlock. `false`: never. */
  readonly retry?: UnitRetryOptions | false
}

const unitOptions: KnownOptions<UnitOfWorkOptions> = {
  em: { words: 'an entity manager of the ORM', fits: (value) => value instanceof EntityManager },
  isolation: oneOf(...Object.values(IsolationLevel)),
  retry: either({ ...record, words: '{ attempts }' }, oneOf(false)),
}

/** Refuses options of `unitOfWork()` with `OPTION_INVALID`, but for the number of attempts, which is checked when it is read. */
export function checkUnitOptions(options: UnitOfWorkOptions): void {
  checkOptions({ door: 'unitOfWork' }, options, unitOptions)
}

/** Refuses work that is no function with `OPTION_INVALID`. */
export function checkWork(work: unknown): void {
  if (typeof work === 'function') return
  throw new DataAccessError('OPTION_INVALID', 'unitOfWork was given no function; give the work first, then the options')
}
