import { DataAccessError } from '../errors.ts'
import { consoleLogger, type Logger, loggerExpected, steadyLogger } from '../kernel/logger.ts'
import { checkOptions, oneOf, requireFunction, wholeFrom } from '../kernel/options.ts'
import { describeSuspect, NPlusOneGuard, type NPlusOneSuspect } from './n-plus-one.ts'
import { type ExecutedQuery, type QueryObserver, type QueryOrigin, queryObserver } from './query-watch.ts'

/** How a block of code is watched. */
export interface QueryScopeOptions {
  /**
   * What to do, at the end of the block, about queries that were run once for each entity instead of once for all: nothing,
   * log each place once, or throw `N_PLUS_ONE` in place of the block's result. Default `off`.
   */
  readonly nPlusOne?: 'off' | 'warn' | 'throw' | undefined
  /** How many queries of one shape, from one line, for different keys make a suspect. From 2. Default 3. */
  readonly threshold?: number | undefined
  /** Where `warn` writes. Default: standard error. */
  readonly logger?: Logger | undefined
}

/** All queries with the same SQL. */
export interface QueryShape {
  /** Their text, with `?` for each parameter. */
  readonly sql: string
  /** How often it ran, failures included. */
  readonly count: number
  /** Rows read, or changed, by all of them; those of which MikroORM does not tell the rows count as 0. */
  readonly rows: number
  /** The sum of their durations, in ms. */
  readonly durationMs: number
}

/** Statements that begin, end or divide a transaction, and those by which a unit of work takes SQLite's write lock. */
const transactionStatement =
  /^\s*(begin|start transaction|commit|rollback|savepoint|release|set (local |session )?transaction|update outbox_sequence set value = value where|pragma busy_timeout)\b/i

/** Places that were warned of; a process has few, and the bound only keeps a mistake from growing. */
const warned = new Set<string>()
const warnedLimit = 1000

/**
 * Runs a block of code and counts and lists the queries that it runs, through any entity manager of a data access, in
 * anything it awaits. Scopes that run at the same time do not see each other's queries; a nested one's count in both. The
 * scope may be read while the block runs and afterwards. It keeps every query with its parameters: watch blocks, not
 * processes.
 *
 * Resolves to what the block resolves to.
 *
 * @throws DataAccessError `N_PLUS_ONE`, which names relation, line and cure of each suspect; `OPTION_INVALID`.
 */
export async function withQueries<Result>(
  block: (queries: QueryScope) => Promise<Result>,
  options: QueryScopeOptions = {},
): Promise<Result> {
  requireFunction('withQueries', block)
  const scope = new QueryScope(queryObserver.getStore(), guardFor(options))
  let result: Result
  try {
    result = await queryObserver.run(scope, () => block(scope))
  } finally {
    scope.close()
  }
  const { suspects } = scope
  if (options.nPlusOne === 'throw' && suspects.length > 0) {
    throw new DataAccessError('N_PLUS_ONE', suspects.map(describeSuspect).join('\n'), { context: { suspects } })
  }
  if (options.nPlusOne === 'warn') warn(suspects, steadyLogger(options.logger ?? consoleLogger))
  return result
}

/** The queries of one block of code; made by {@link withQueries}. */
export class QueryScope implements QueryObserver {
  readonly #queries: ExecutedQuery[] = []
  readonly #transactions: ExecutedQuery[] = []
  readonly #around: QueryObserver | undefined
  readonly #guard: NPlusOneGuard | undefined
  #open = true

  /** @internal */
  constructor(around: QueryObserver | undefined, guard: NPlusOneGuard | undefined) {
    this.#around = around
    this.#guard = guard
  }

  /** The queries so far, in the order in which they ended. */
  get queries(): readonly ExecutedQuery[] {
    return this.#queries
  }

  /** How many queries ran; beginning and ending transactions does not count. */
  get count(): number {
    return this.#queries.length
  }

  /** The statements that began, ended or divided transactions. */
  get transactions(): readonly ExecutedQuery[] {
    return this.#transactions
  }

  /** The sum of the queries' durations in ms; more than the time that passed where they ran side by side. */
  get durationMs(): number {
    return this.#queries.reduce((sum, { durationMs }) => sum + durationMs, 0)
  }

  /** The queries so far, one entry for each shape, the most frequent first. */
  get shapes(): readonly QueryShape[] {
    const shapes = new Map<string, QueryShape>()
    for (const { sql, rows = 0, durationMs } of this.#queries) {
      const shape = shapes.get(sql) ?? { sql, count: 0, rows: 0, durationMs: 0 }
      shapes.set(sql, { sql, count: shape.count + 1, rows: shape.rows + rows, durationMs: shape.durationMs + durationMs })
    }
    return [...shapes.values()].sort((one, other) => other.count - one.count)
  }

  /** The N+1 suspects so far; none with `nPlusOne: 'off'`. */
  get suspects(): readonly NPlusOneSuspect[] {
    return this.#guard?.suspects() ?? []
  }

  /** Takes note of a statement, also in the scope around this one; after {@link close} only there. The watch of the ORM calls it. */
  executed(query: ExecutedQuery, origin: QueryOrigin): void {
    this.#around?.executed(query, origin)
    // What the block started and did not await still runs in its context.
    if (!this.#open) return
    if (transactionStatement.test(query.sql)) {
      this.#transactions.push(query)
      return
    }
    this.#queries.push(query)
    this.#guard?.executed(query, origin)
  }

  /** From now on the scope stays as it is. */
  close(): void {
    this.#open = false
  }
}

function guardFor(options: QueryScopeOptions): NPlusOneGuard | undefined {
  checkOptions({ door: 'withQueries' }, options, {
    nPlusOne: oneOf('off', 'warn', 'throw'),
    threshold: wholeFrom(2),
    logger: loggerExpected,
  })
  const { nPlusOne = 'off', threshold = 3 } = options
  return nPlusOne === 'off' ? undefined : new NPlusOneGuard(threshold)
}

function warn(suspects: readonly NPlusOneSuspect[], logger: Logger): void {
  for (const suspect of suspects) {
    const place = `${suspect.caller ?? ''} ${suspect.sql}`
    if (warned.has(place)) continue
    if (warned.size >= warnedLimit) warned.clear()
    warned.add(place)
    // The sentence has the other facts; a console would show them twice.
    logger.warn(describeSuspect(suspect), { sql: suspect.sql })
  }
}
