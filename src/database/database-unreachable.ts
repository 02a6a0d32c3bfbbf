import { accessSync, constants, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { causesOf, DataAccessError, hasErrorCode } from '../errors.ts'
import { maskPassword } from '../kernel/mask-password.ts'
import type { DatabaseAddress } from './database-url.ts'

/** What `pg` says, without a code, of a server that answers no to TLS. */
const [noCode, noTls] = [/^$/, /does not support SSL connections/]

/** OpenSSL's codes, as Node gives them, for a certificate whose signer is not among the trusted. */
const unknownSigner =
  /^(DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_VERIFY_LEAF_SIGNATURE|UNABLE_TO_GET_ISSUER_CERT(_LOCALLY)?)$/

/** What the refusals of PostgreSQL (appendix A of its manual), of Node and of SQLite mean, and what to do about them. */
const refusals: readonly { readonly code: RegExp; readonly message?: RegExp; readonly cure: string }[] = [
  { code: /^3D000$/, cure: 'the database does not exist; create it first, or correct the name at the end of the URL' },
  { code: /^28P01$/, cure: 'the password is wrong, or there is no such user; correct both in the URL' },
  { code: /^28000$/, message: /role ".*" does not exist/, cure: 'there is no such user; create the role, or correct the URL' },
  {
    code: /^28000$/,
    message: /pg_hba/,
    cure: "the server's pg_hba.conf admits no such connection; add a line for this user, database and host there, or connect with TLS, by sslmode=require or verify-full in the URL",
  },
  {
    code: /^28000$/,
    message: /client certificate/,
    cure: 'the server wants a certificate of the client; give sslcert and sslkey in the URL',
  },
  { code: /^28000$/, cure: 'the server refuses this user; look at its pg_hba.conf' },
  { code: /^42501$/, cure: 'this user may not use this database; grant it the right to connect' },
  {
    code: /^08P01$/,
    message: /startup parameter: statement_timeout/,
    cure: 'a pooler stands before it, which takes no statementTimeoutMs; leave that out, and set statement_timeout for the role: alter role … set statement_timeout = …',
  },
  { code: /^53300$/, cure: 'the server has no connection left; lower the pools of its clients, or raise its max_connections' },
  { code: /^57P03$/, cure: 'the server is starting or shutting down; try again in a moment' },
  { code: /^ECONNREFUSED$/, cure: 'nothing listens there; start the server or correct host and port' },
  { code: /^(ENOTFOUND|EAI_AGAIN)$/, cure: 'the host is not known; correct it' },
  { code: /^(ETIMEDOUT|EHOSTUNREACH|ENETUNREACH)$/, cure: 'the host does not answer; look at address and firewall' },
  {
    code: noCode,
    message: noTls,
    cure: 'the server speaks no TLS, and the URL or database.driverOptions.ssl asks for it; set ssl = on there, or, in a network that you trust, connect with sslmode=disable',
  },
  {
    code: unknownSigner,
    cure: "nobody who is trusted signed the server's certificate; name its authority's file by sslrootcert=/path/to/ca.pem in the URL",
  },
  {
    code: /^ERR_TLS_CERT_ALTNAME_INVALID$/,
    cure: "the server's certificate is for another host; connect by a name that stands in it, or with sslmode=verify-ca and sslrootcert",
  },
  { code: /^CERT_HAS_EXPIRED$/, cure: "the server's certificate has expired; renew it" },
  { code: /^SQLITE_NOTADB$/, cure: 'the file is no SQLite database; correct the path' },
  {
    code: /^SQLITE_(READONLY|CANTOPEN)/,
    cure: 'the file cannot be opened for writing; look at the rights of the file and of its folder',
  },
]

/** The refusals that a server or its network gives to nothing but a new connection. */
const refusedConnection =
  /^(3D000|28P01|28000|53300|57P03|ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|ERR_TLS_CERT_ALTNAME_INVALID|CERT_HAS_EXPIRED)$/

/** Whether an error says that no connection was made, so that nothing was sent on it. */
export function tellsRefusal(error: Error): boolean {
  if (!('code' in error)) return noTls.test(error.message)
  const code = String(error.code)
  return refusedConnection.test(code) || unknownSigner.test(code)
}

/** Says that a connection was lost while a statement was on its way. */
export function databaseLost({ printable }: DatabaseAddress, error: Error): DataAccessError {
  const { message, code }: LastWords = lastWords(error) ?? { message: error.message }
  return new DataAccessError(
    'DATABASE_UNREACHABLE',
    `The connection to the database ${printable} was lost before it answered (${maskPassword(message)}). A transaction was rolled back; what ran outside of one may have taken effect. Try again once the database answers: data.health() tells`,
    { cause: error, context: { database: printable, ...(code === undefined ? {} : { reason: code }) } },
  )
}

/** What PostgreSQL said when it ended a connection. */
interface LastWords {
  readonly message: string
  readonly code?: string
}

function lastWords(error: unknown): LastWords | undefined {
  return causesOf(error).find((each) => 'severity' in each)
}

/** SQLSTATE 25P03 and 25P04: what PostgreSQL calls a transaction that it ends, with its connection, at a timeout, and the setting for it. */
const timeouts: Readonly<Record<string, string>> = {
  '25P03': 'idled longer than idle_in_transaction_session_timeout allows',
  '25P04': 'took longer than transaction_timeout allows',
}

/** Whether PostgreSQL ended a transaction because of the time that it took. */
export function endedForTime(error: unknown): boolean {
  return (lastWords(error)?.code ?? '') in timeouts
}

/** Says that {@link endedForTime} is true. */
export function transactionTimedOut(error: unknown): DataAccessError {
  const code = lastWords(error)?.code ?? ''
  return new DataAccessError(
    'TRANSACTION_ENDED',
    `A transaction ${timeouts[code]}, so PostgreSQL rolled it back and ended its connection. Make it shorter: do not wait for anything else inside a unit of work, such as an HTTP call`,
    { cause: error, context: { reason: code } },
  )
}

/** Says why a database cannot be used, and what to do. */
export function databaseUnreachable(address: DatabaseAddress, failure: unknown): DataAccessError {
  const { dialect, target, printable } = address
  const error = untold(failure)
  const message = error instanceof Error ? error.message : String(error)
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  const known = refusals.find((each) => each.code.test(code) && (each.message?.test(message) ?? true))
  const onDisk = dialect === 'sqlite' && target !== ':memory:' ? fileTrouble(target) : undefined
  const reason = onDisk ?? known?.cure ?? maskPassword(message)
  return new DataAccessError('DATABASE_UNREACHABLE', `The database ${printable} cannot be used: ${reason}`, {
    cause: error,
    context: { database: printable, ...(code === '' ? {} : { code }) },
  })
}

/** What stands behind a failure that was told already, as of a connection that was lost. */
function untold(failure: unknown): unknown {
  let error = failure
  while (hasErrorCode(error, 'DATABASE_UNREACHABLE') && (error as Error).cause instanceof Error) error = (error as Error).cause
  return error
}

/** What stands in the way of a SQLite file; the driver tells it without a code. */
function fileTrouble(path: string): string | undefined {
  const folder = dirname(resolve(path))
  const trouble = (place: string, rights: number) => {
    try {
      accessSync(place, rights)
      return undefined
    } catch (error) {
      return (error as NodeJS.ErrnoException).code
    }
  }
  if (trouble(folder, constants.F_OK) !== undefined) return `the folder ${folder} does not exist; create it`
  if (trouble(path, constants.F_OK) !== undefined) {
    return trouble(folder, constants.W_OK) === undefined ? undefined : `no file may be created in ${folder}; look at its rights`
  }
  if (statSync(path).isDirectory()) return 'it is a folder; give the path of a file'
  return trouble(path, constants.R_OK | constants.W_OK) === undefined
    ? undefined
    : 'the file may not be read and written; look at its rights'
}
