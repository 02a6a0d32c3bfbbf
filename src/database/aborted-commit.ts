import { DataAccessError } from '../errors.ts'
import { followsFailure } from './failure.ts'
import type { PgClient } from './pg-client.ts'

/**
 * Makes a client reject a `commit` that PostgreSQL turned into a rollback. In a transaction where a statement failed, and
 * whose error somebody caught, the server answers a commit with `ROLLBACK` and no error: everything would be lost in silence.
 */
export function refuseAbortedCommit(client: Pick<PgClient, 'query'>): void {
  const query = client.query.bind(client)
  client.query = (...args) => {
    const outcome = query(...args)
    return args[0] === 'commit' && outcome instanceof Promise ? outcome.then(requireCommit, explainRefusal) : outcome
  }
}

function requireCommit<Result>(result: Result): Result {
  if ((result as { command?: unknown }).command !== 'ROLLBACK') return result
  throw transactionAborted()
}

/** What travelled with the commit was refused with it. */
function explainRefusal(error: unknown): never {
  throw followsFailure(error) ? transactionAborted(error) : error
}

/** Says that nothing was saved, since a statement had failed and its error was caught. */
export function transactionAborted(cause?: unknown): DataAccessError {
  return new DataAccessError(
    'TRANSACTION_ABORTED',
    'PostgreSQL rolled a transaction back instead of committing it, since a statement in it had failed and its error was caught; nothing was saved. Let the error through, or run what may fail in a nested unit of work',
    { cause },
  )
}
