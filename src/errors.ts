/**
 * Permanent error codes. A code never changes its meaning and is never reused; `docs/errors.md` lists each with its cure.
 * Sorted by the part that throws it.
 */
export const ErrorCodes = [
  // data access and connection
  'OPTION_INVALID',
  'DATABASE_URL_INVALID',
  'DATABASE_UNREACHABLE',
  'POOL_EXHAUSTED',
  'DRIVER_MISSING',
  'DRIVER_MISMATCH',
  'MIGRATION_MISSING',
  'MIGRATION_FAILED',
  'PERMISSION_DENIED',
  'STATEMENT_CANCELED',
  'LOCK_NOT_AVAILABLE',
  'ENTITY_UNKNOWN',
  'ENTITY_NOT_FOUND',
  'ENTITY_DETACHED',
  'ID_INVALID',
  'TEXT_NOT_STORABLE',
  'CLOSED',
  'TRANSACTION_FORK',
  // unit of work
  'RECORD_OUTSIDE_UNIT',
  'UNIT_RETRIES_EXHAUSTED',
  'COMMIT_OUTCOME_UNKNOWN',
  'TRANSACTION_ENDED',
  'TRANSACTION_ABORTED',
  // domain events
  'EVENT_DEFINITION_INVALID',
  'EVENT_UNKNOWN',
  'EVENT_PAYLOAD_REFUSED',
  'EVENT_PAYLOAD_NOT_JSON',
  'EVENT_SCHEMA_ASYNC',
  'EVENT_AGGREGATE_INVALID',
  // outbox
  'RELAY_ALREADY_RUNNING',
  'RELAY_PUBLISHER_MISMATCH',
  'RELAY_CRASHED',
  'PUBLISHER_FAILED',
  'PUBLISHER_TIMEOUT',
  'PUBLISHER_INVALID_OUTCOME',
  'OUTBOX_LEASE_LOST',
  // queries
  'N_PLUS_ONE',
  'PAGE_CURSOR_INVALID',
  // cache and Redis
  'CACHE_CHOICE_REQUIRED',
  'CACHE_POLICY_MISSING',
  'REDIS_URL_INVALID',
  'REDIS_UNAVAILABLE',
  'REDIS_COMMAND_FAILED',
] as const

/** One of the permanent codes in {@link ErrorCodes}. */
export type ErrorCode = (typeof ErrorCodes)[number]

/** Options of a {@link DataAccessError}. */
export interface DataAccessErrorOptions {
  /** What this error followed from. Default: nothing. */
  readonly cause?: unknown
  /** The facts of the case, safe to log: never a secret, passwords in URLs already masked. */
  readonly context?: Readonly<Record<string, unknown>>
}

/**
 * The one error class of this library. Its message says what happened, to which thing, and what to do now; its
 * {@link DataAccessError.code} is permanent and is what a program should test.
 */
export class DataAccessError extends Error {
  /** By which to know it where `instanceof` cannot, such as across two copies of this package. */
  override readonly name = 'DataAccessError'
  /** What went wrong; the message ends with it, in brackets. */
  readonly code: ErrorCode
  /** The facts of the case by name, safe to log; empty when there are none. */
  readonly context: Readonly<Record<string, unknown>>

  constructor(code: ErrorCode, message: string, options: DataAccessErrorOptions = {}) {
    super(`${message} (${code})`, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.context = options.context ?? {}
  }
}

/** Tells whether an error, or anything in its chain of causes as far as sixteen errors, is ours and carries this code; false for what is no `Error`. */
export function hasErrorCode(error: unknown, code: ErrorCode): boolean {
  return causesOf(error).some((each) => each instanceof DataAccessError && each.code === code)
}

/** More causes than this have gone in a circle. */
const mostCauses = 16

/** An error and what caused it, the outermost first. */
export function causesOf(error: unknown): readonly Error[] {
  const chain: Error[] = []
  for (let current = error; current instanceof Error && chain.length < mostCauses; current = current.cause) chain.push(current)
  return chain
}
