import type { EntityManager, MikroORM } from '@mikro-orm/core'
import type { CacheEventName, CacheEvents } from '../cache/cache-events.ts'
import type { CacheFigures } from '../cache/figures.ts'
import type { Invalidation } from '../cache/invalidation.ts'
import { wholeEntityStamp } from '../cache/key.ts'
import { ownContext } from '../database/row-views.ts'
import { cachedContext, hasUnflushedChanges } from './cached-context.ts'
import type { CachedQuerySource } from './cached-query-source.ts'
import { type CachedReadOptions, readAs } from './cached-read-options.ts'

/** The parameters of a query in front of its options; to be left out where all of them are, or it has none. */
export type QueryArguments<Params, Others extends readonly unknown[] = []> = [Record<never, never>] extends [Params]
  ? [] | [params: Params, ...others: Others]
  : [params: Params, ...others: Others]

/** Reads one cached query. The results are detached, or managed by the entity manager that was given. */
export class CachedQueryReads<Params, Result> {
  readonly #orm: MikroORM
  readonly #source: CachedQuerySource<Params, Result>
  readonly #invalidation: Invalidation
  readonly #em: EntityManager | undefined

  constructor(
    orm: MikroORM,
    source: CachedQuerySource<Params, Result>,
    invalidation: Invalidation,
    em: EntityManager | undefined,
  ) {
    this.#orm = orm
    this.#source = source
    this.#invalidation = invalidation
    this.#em = em
  }

  /**
   * The query's result for these parameters; its entities are read as their own cache reads them. While the store is away the database
   * answers.
   *
   * @throws DataAccessError `OPTION_INVALID`, also for parameters that are no plain data or change what the result depends on; `CLOSED`;
   * `TRANSACTION_FORK` on SQLite in a transaction that it would go past; the signal's reason; what the query and the database throw.
   */
  async get(...args: QueryArguments<Params, [options?: CachedReadOptions]>): Promise<Result> {
    const [params, options] = [given<Params>(args), args[1]]
    return readAs('a cached query', options, async (fresh) => {
      this.#source.life.refuseWhenClosed()
      const { hasCommitted } = this.#invalidation
      const context = cachedContext(this.#orm, this.#source.otherRows, hasCommitted, this.#em, hasUnflushedChanges)
      if (context.bypass !== 'transaction') this.#source.life.refuseWhenHeld()
      if (context.bypass === undefined) return this.#source.read(context, params, fresh)
      this.#source.figures.bypassed(1, context.bypass)
      return this.#source.run(context.em, params)
    })
  }

  /**
   * Expires the result for these parameters everywhere, at once, and in a transaction after its commit too: for writes that this library
   * does not see. Resolves also while the store is away: this process reads the database until the store knows, and others sweep.
   *
   * @throws DataAccessError `CLOSED`; `OPTION_INVALID` for parameters that are no plain data; in a transaction also what the database
   * throws.
   */
  async invalidate(...args: QueryArguments<Params>): Promise<void> {
    this.#source.life.refuseWhenClosed()
    const em = ownContext(this.#em ?? this.#orm.em)
    await this.#invalidation.expireByHand(new Set([this.#source.keyOf(given<Params>(args))]), em)
  }

  /**
   * Expires the results for all parameters, and with them all that is cached of the entities in `dependsOn` or depends on these.
   *
   * @throws DataAccessError `CLOSED`; in a transaction also what the database throws.
   */
  async invalidateAll(): Promise<void> {
    this.#source.life.refuseWhenClosed()
    const stamps = this.#source.shapes.map(({ root }) => wholeEntityStamp(root.className))
    await this.#invalidation.expireByHand(new Set(stamps), ownContext(this.#em ?? this.#orm.em))
  }

  /**
   * Adds a listener for what this cache does in this process; the function returned removes it. What it throws is logged.
   *
   * @throws DataAccessError `OPTION_INVALID` for an event that a cache never tells, or no function.
   */
  on<Name extends CacheEventName>(name: Name, listener: (event: CacheEvents[Name]) => void): () => void {
    return this.#source.figures.listeners.on(name, listener)
  }

  /** What this cache has done in this process since the data access was opened, for all who read by it. Throws nothing. */
  stats(): CacheFigures {
    return this.#source.figures.read()
  }
}

function given<Params>(args: readonly unknown[]): Params {
  return (args.length === 0 ? {} : args[0]) as Params
}
