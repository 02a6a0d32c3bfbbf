import { type MikroORM, TransactionContext } from '@mikro-orm/core'
import { DataAccessError } from '../../errors.ts'

/** @throws DataAccessError `TRANSACTION_FORK` inside a transaction of this ORM that is not over. */
export function requireNoTransaction(orm: MikroORM, door: 'start' | 'drain' | 'stop'): void {
  const ambient = TransactionContext.currentTransactionContext()?.em
  if (ambient === undefined || ambient.getDriver() !== orm.driver) return
  const transaction = ambient.getTransactionContext() as { isCommitted: boolean; isRolledBack: boolean } | undefined
  if (transaction === undefined || transaction.isCommitted || transaction.isRolledBack) return
  throw new DataAccessError(
    'TRANSACTION_FORK',
    `${door}() was called inside a transaction, whose events do not exist yet and whose end it may wait for; call it after the unit of work`,
  )
}
