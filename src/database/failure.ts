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

/** Whether a statement was refused because an earlier one had failed, and its error was caught. */
export function followsFailure(error: unknown): boolean {
  return causesOf(error).some((each) => 'code' in each && each.code === afterFailure)
}

/** Whether a statement was never sent, since its connection had been lost before. */
export function wasNeverSent(error: unknown): boolean {
  return causesOf(error).some(({ message }) => neverSent.test(message))
}

/** Tells what kind of failure an error is, by the codes in its chain of causes. */
export function classifyFailure(error: unknown): DatabaseFailure {
  for (const each of causesOf(error)) {
    const code = 'code' in each && typeof each.code === 'string' ? each.code : ''
    if (conflicts.test(code)) return 'conflict'
    if (connectionLosses.test(code) || codelessLosses.test(each.message)) return 'connection'
  }
  return 'other'
}

/** An error and what caused it, the outermost first. */
function causesOf(error: unknown): Error[] {
  const chain: Error[] = []
  for (let current = error; current instanceof Error && chain.length < 16; current = current.cause) chain.push(current)
  return chain
}
