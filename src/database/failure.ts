import { causesOf } from '../errors.ts'

/** What stands behind a failed statement: another transaction, the connection, or the statement itself. */
export type DatabaseFailure = 'conflict' | 'connection' | 'other'

/**
 * SQLSTATE 40001 serialization_failure and 40P01 deadlock_detected (PostgreSQL, appendix A), and SQLite's busy codes: the
 * database rolled the transaction back because of another one, and the same work may succeed now.
 */
const conflicts = /^(40001|40P01|SQLITE_BUSY.*|SQLITE_LOCKED.*)$/

/** Class 08 connection exception, 57P01–57P03 of a server that shuts down, and Node's own codes of a broken socket. */
const connectionLosses =
  /^(08...|57P0[123]|ECONNRESET|EPIPE|ETIMEDOUT|ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN)$/

/** What `pg` gives no code: a connection that ended, before or in a query, and an answer that `query_timeout` did not wait for. */
const codelessLosses = /Connection terminated|Query read timeout|is not queryable/

/** SQLSTATE 25P02, in_failed_sql_transaction: the statement was not run, since an earlier one of its transaction had failed. */
const afterFailure = '25P02'

/** `pg`'s word for a client whose connection had ended before: nothing was sent on it. */
const neverSent = /is not queryable/

/**
 * The connection that threw an error. The code alone does not tell: a `fetch` that is refused has the code of a database that
 * is away, and another database its own conflicts.
 */
const origins = new WeakMap<Error, object>()

/** Notes that an error was thrown by a connection, unless it came from another one, and returns it. */
export function noteOrigin<Failure>(error: Failure, connection: object): Failure {
  if (error instanceof Error && !origins.has(error)) origins.set(error, connection)
  return error
}

/** Whether a connection threw this very error; one that only has it as its cause is the application's own. */
export function comesFrom(error: unknown, connection: object): error is Error {
  return error instanceof Error && origins.get(error) === connection
}

/** Whether an error of a connection stands anywhere in the chain of causes. */
export function isCausedBy(connection: object, error: unknown): boolean {
  return causesIn(connection, error).length > 0
}

/**
 * Whether a statement was refused because an earlier one had failed, and its error was caught.
 *
 * @param connection if given, errors that it did not throw tell nothing.
 */
export function followsFailure(error: unknown, connection?: object): boolean {
  return causesIn(connection, error).some((each) => 'code' in each && each.code === afterFailure)
}

/** Whether a statement was never sent, since its connection had been lost before. */
export function wasNeverSent(error: unknown): boolean {
  return causesOf(error).some(({ message }) => neverSent.test(message))
}

/**
 * Tells what kind of failure an error is, by the codes in its chain of causes.
 *
 * @param connection if given, errors that it did not throw tell nothing.
 */
export function classifyFailure(error: unknown, connection?: object): DatabaseFailure {
  for (const each of causesIn(connection, error)) {
    const code = 'code' in each && typeof each.code === 'string' ? each.code : ''
    if (conflicts.test(code)) return 'conflict'
    if (connectionLosses.test(code) || codelessLosses.test(each.message)) return 'connection'
  }
  return 'other'
}

/** An error and what caused it; of one connection, if it is named. */
function causesIn(connection: object | undefined, error: unknown): readonly Error[] {
  return connection === undefined ? causesOf(error) : causesOf(error).filter((each) => comesFrom(each, connection))
}
