/** What stands behind a failed statement: another transaction, the connection, or the statement itself. */
export type DatabaseFailure = 'conflict' | 'connection' | 'other'

/**
 * SQLSTATE 40001 serialization_failure and 40P01 deadlock_detected (PostgreSQL, appendix A), and SQLite's busy codes: the
 * database rolled the transaction back because of another one, and the same work may succeed now.
 */
const conflicts = /^(40001|40P01|SQLITE_BUSY.*|SQLITE_LOCKED.*)$/

/** Class 08 connection exception, 57P01–57P03 of a server that shuts down, and Node's own codes of a broken socket. */
const connectionLosses = /^(08...|57P0[123]|ECONNRESET|EPIPE|ETIMEDOUT|ECONNREFUSED|EHOSTUNREACH|ENETUNREACH)$/

/** What `pg` gives no code: a connection that ended in mid-query, and an answer that `query_timeout` did not wait for. */
const codelessLosses = /Connection terminated|Query read timeout/

/** Tells what kind of failure an error is, by the codes in its chain of causes. */
export function classifyFailure(error: unknown): DatabaseFailure {
  for (let current = error, depth = 0; current instanceof Error && depth < 16; current = current.cause, depth++) {
    const code = 'code' in current && typeof current.code === 'string' ? current.code : ''
    if (conflicts.test(code)) return 'conflict'
    if (connectionLosses.test(code) || codelessLosses.test(current.message)) return 'connection'
  }
  return 'other'
}
