import { EntityManager, IsolationLevel } from '@mikro-orm/core'
import { DataAccessError } from '../errors.ts'
import { checkOptions, either, type KnownOptions, oneOf, record } from '../kernel/options.ts'
import type { RecordEvent } from '../outbox/event/recorded-event.ts'
import type { CommitHook } from './commit-hooks.ts'
import type { UnitRetryOptions } from './retry.ts'

/** What the work of one unit is given. */
export interface UnitOfWorkContext {
  /** The entity manager of this unit's transaction; flushed before the commit. No other may be used inside. */
  readonly em: EntityManager
  /**
   * Records a domain event: stored if and only if this unit's changes commit, in the order of recording.
   *
   * @throws DataAccessError `EVENT_DEFINITION_INVALID` for what is no event, or a schema that answers nothing; `EVENT_UNKNOWN` for an event
   * that no module lists; `OPTION_INVALID`; `EVENT_AGGREGATE_INVALID`; `ID_INVALID` for an aggregate's id that is no UUID in lower case, where its
   * entity has such ids; `EVENT_PAYLOAD_REFUSED`, `EVENT_PAYLOAD_NOT_JSON`, `EVENT_SCHEMA_ASYNC`; what schema and codec throw. After any of
   * these this unit does not commit even if the error is caught. `RECORD_OUTSIDE_UNIT` once the unit has ended.
   */
  readonly record: RecordEvent
  /**
   * Runs a hook once the root transaction has committed, and never for a savepoint or an attempt that was rolled back. Hooks
   * run one after the other before `unitOfWork()` resolves; what they throw is logged and cannot undo the commit.
   *
   * @throws DataAccessError `RECORD_OUTSIDE_UNIT` once the unit has ended; `OPTION_INVALID` for what is no function.
   */
  readonly afterCommit: (hook: CommitHook) => void
  /** Which try this is, from 1; a unit inside another one has that of the one around it. */
  readonly attempt: number
}

/** What a unit of work runs: it resolves to the unit's result, and rolls all of it back by throwing. Run again, it gets another unit. */
export type Work<Result, Context = UnitOfWorkContext> = (unit: Context) => Promise<Result>

/** The isolation levels of PostgreSQL: MikroORM also knows one of another database. */
export type UnitIsolation = Exclude<IsolationLevel, IsolationLevel.SNAPSHOT>

/** How a unit of work is run. */
export interface UnitOfWorkOptions {
  /**
   * Join this entity manager, such as a request's: edits already made in it are saved. In a transaction the unit becomes a
   * savepoint. Without it the unit joins the innermost unit or transaction around it, or else gets a fresh fork, which in a
   * `RequestContext` has the request's filters, session and schema.
   */
  readonly em?: EntityManager | undefined
  /** The isolation level of a root transaction. Default: the database's. SQLite has one, which is as strict as `serializable`. */
  readonly isolation?: UnitIsolation | `${UnitIsolation}` | undefined
  /**
   * For a unit with its own fork: run again, with a fresh one, after a serialization failure or deadlock of its database, or when a flush
   * finds a versioned entity changed by somebody else; ten tries by default. Not with `em`. `false`: never, and the error as it is.
   */
  readonly retry?: UnitRetryOptions | false | undefined
}

const unitOptions: KnownOptions<UnitOfWorkOptions> = {
  em: { words: 'an entity manager of the ORM', fits: (value) => value instanceof EntityManager },
  isolation: oneOf(...Object.values(IsolationLevel).filter((level) => level !== IsolationLevel.SNAPSHOT)),
  retry: either({ ...record, words: '{ attempts, baseMs, maxMs }' }, oneOf(false)),
}

/** Refuses options of `unitOfWork()` with `OPTION_INVALID`, but for what `retry` holds, which is checked when it is read. */
export function checkUnitOptions(options: UnitOfWorkOptions): void {
  checkOptions({ door: 'unitOfWork' }, options, unitOptions)
  if (options.em === undefined || !options.retry) return
  throw new DataAccessError(
    'OPTION_INVALID',
    'unitOfWork: retry has no effect with `em`, since a failed flush leaves that `em` unusable; leave one of the two out',
  )
}
