import type { EntityManager, MikroORM } from '@mikro-orm/core'
import { DataAccessError } from '../errors.ts'
import { withCommit } from './round-trips.ts'

/** The SQL dialects that this library speaks, with one behaviour. */
export type Dialect = 'postgresql' | 'sqlite'

/**
 * Runs one statement in the entity manager's own transaction, if it is in one, on the primary. Placeholders are `?`.
 * Resolves to the rows as the driver gives them: timestamptz as strings on PostgreSQL and epoch milliseconds on SQLite.
 */
export async function runSql<Row extends object>(
  em: EntityManager,
  sql: string,
  params: readonly unknown[] = [],
): Promise<Row[]> {
  const connection = em.getConnection('write')
  return (await connection.execute(sql, [...params], 'all', em.getTransactionContext())) as unknown as Row[]
}

/**
 * Hands over what a transaction is to do last, for use right before its commit: on PostgreSQL it travels in one message with
 * the commit, and its failure is the commit's.
 */
export async function runSqlWithCommit(em: EntityManager, sql: string, params: readonly unknown[]): Promise<void> {
  await runSql(em, dialectOf(em) === 'postgresql' ? `${withCommit}${sql}` : sql, params)
}

/**
 * The dialect that an entity manager or an ORM speaks, told by the driver's class or one that it extends.
 *
 * @throws DataAccessError `OPTION_INVALID` for a database that is neither.
 */
export function dialectOf(source: EntityManager | MikroORM): Dialect {
  // Not by its class, of which a test runner may load a second copy.
  const driver = 'getDriver' in source ? source.getDriver() : source.driver
  for (let prototype: unknown = driver; prototype; prototype = Object.getPrototypeOf(prototype)) {
    const name = (prototype as object).constructor?.name ?? ''
    if (name.startsWith('PostgreSql')) return 'postgresql'
    if (name.includes('Sqlite') || name.includes('SQLite')) return 'sqlite'
  }
  throw new DataAccessError(
    'OPTION_INVALID',
    `The driver ${driver.constructor.name} speaks neither PostgreSQL nor SQLite; use @mikro-orm/postgresql or @mikro-orm/sqlite`,
  )
}
