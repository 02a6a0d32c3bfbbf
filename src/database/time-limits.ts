import { DataAccessError, type ErrorCode } from '../errors.ts'
import { tableOf } from './statement-table.ts'

interface TimeLimit {
  readonly code: ErrorCode
  readonly what: string
  readonly cure: string
}

/** By SQLSTATE, which unlike PostgreSQL's words is the same in all languages: query_canceled and lock_not_available. */
const limits: Readonly<Record<string, TimeLimit>> = {
  '57014': {
    code: 'STATEMENT_CANCELED',
    what: 'canceled a statement',
    cure: 'Make it faster, as by an index, look who holds the lock that it may wait for, or give it more time: by statementTimeoutMs, or what is of a relay by its lease',
  },
  '55P03': {
    code: 'LOCK_NOT_AVAILABLE',
    what: 'gave no lock to a statement',
    cure: 'Another transaction holds it: make that one shorter, try again, or allow a longer lock_timeout',
  },
}

/** Recognises what PostgreSQL ended at `statement_timeout` or `lock_timeout`, and says so; `undefined` for any other error. */
export function timeLimit(error: unknown, sql = ''): DataAccessError | undefined {
  if (!(error instanceof Error && 'severity' in error && 'code' in error)) return undefined
  const reason = String(error.code)
  const limit = limits[reason]
  if (limit === undefined) return undefined
  const table = tableOf(sql)
  const { code, what, cure } = limit
  const message = `PostgreSQL ${what}${table === undefined ? '' : ` on "${table}"`}: ${error.message}. ${cure}`
  return new DataAccessError(code, message, { cause: error, context: { reason, ...(table === undefined ? {} : { table }) } })
}
