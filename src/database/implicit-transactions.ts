import type { MikroORM } from '@mikro-orm/core'
import { DataAccessError } from '../errors.ts'

/** Without a transaction a flush tells nobody what it has written, and one that fails half way leaves what it had written by then. */
export function refuseNoTransactions({ config }: MikroORM): void {
  if (config.get('implicitTransactions') !== false && config.get('disableTransactions') !== true) return
  const option = config.get('disableTransactions') === true ? 'disableTransactions: true' : 'implicitTransactions: false'
  throw new DataAccessError(
    'OPTION_INVALID',
    `createDataAccess was given an ORM with \`${option}\`, whose flushes would expire nothing in the cache and store no events; leave it out`,
  )
}
