import { DataAccessError } from '../../errors.ts'

/** Tells the innermost open transaction of an ORM in whose callback the caller stands: MikroORM's own context may be that of another ORM. */
export interface TransactionGuard {
  readonly surrounding: object | undefined
}

/** @throws DataAccessError `TRANSACTION_FORK` inside a transaction of this ORM that is not over. */
export function requireNoTransaction(guard: TransactionGuard, door: 'start' | 'drain' | 'stop'): void {
  if (guard.surrounding === undefined) return
  throw new DataAccessError(
    'TRANSACTION_FORK',
    `${door}() was called inside a transaction, whose events do not exist yet and whose end it may wait for; call it after the unit of work`,
  )
}
