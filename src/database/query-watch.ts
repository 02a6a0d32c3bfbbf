import { AsyncLocalStorage } from 'node:async_hooks'
import type { LogContext, MetadataStorage, MikroORM } from '@mikro-orm/core'

/** One statement that an ORM has run. */
export interface ExecutedQuery {
  /** The SQL with `?` for each parameter: queries of one shape have the same text. */
  readonly sql: string
  /** The values of the placeholders, in their order, as the application gave them: not for a log. Empty when there are none. */
  readonly params: readonly unknown[]
  /** Rows read, or changed; undefined where MikroORM does not tell, as for a stream. */
  readonly rows: number | undefined
  /** From handing the statement over to having its rows, in ms, with the wait for a connection. */
  readonly durationMs: number
  /** Whether the database refused it. */
  readonly failed: boolean
}

/** Where a statement came from. */
export interface QueryOrigin {
  /** The number of the entity manager, or undefined for SQL that went past it. */
  readonly em: unknown
  readonly metadata: () => MetadataStorage
}

/** Somebody who wants to see the statements of the code that it surrounds. */
export interface QueryObserver {
  executed(query: ExecutedQuery, origin: QueryOrigin): void
}

/** The observer around the running code. Without one, a statement costs one look into this. */
export const queryObserver = new AsyncLocalStorage<QueryObserver>()

/**
 * Lets {@link queryObserver} see every statement of an ORM, whether its debug mode is on or off, through the two places that
 * MikroORM offers: its logger and `onQuery`. What goes to Kysely directly is not seen.
 */
export function watchQueries(orm: MikroORM): void {
  const { config } = orm
  const started = new WeakMap<object, { sql: string; at: number }>()
  // The logger is told the SQL with its values when it prints them, so the template is taken here. It is also the start.
  const onQuery = config.get('onQuery')
  config.set('onQuery', (query, params) => {
    const sql = onQuery(query, params)
    if (queryObserver.getStore() !== undefined) started.set(params, { sql, at: performance.now() })
    return sql
  })
  const logger = config.getLogger()
  const { logQuery } = logger
  logger.logQuery = (context) => {
    const observer = queryObserver.getStore()
    if (observer !== undefined) {
      const start = context.params === undefined ? undefined : started.get(context.params)
      observer.executed(toQuery(context, start), { em: context.id, metadata: () => orm.getMetadata() })
    }
    logQuery.call(logger, context)
  }
}

function toQuery(context: LogContext, start: { sql: string; at: number } | undefined): ExecutedQuery {
  return {
    sql: start?.sql ?? context.query ?? '',
    params: context.params ?? [],
    rows: context.results ?? context.affected,
    durationMs: start === undefined ? (context.took ?? 0) : performance.now() - start.at,
    failed: context.level === 'error',
  }
}
