import type { Connection, EntityManager } from '@mikro-orm/core'
import { overrideManagers } from '../database/override-managers.ts'
import { transactionOver } from '../database/transaction-states.ts'
import { endsTransaction, writesRows } from './statement-kinds.ts'
import type { TransactionWatch } from './surroundings.ts'
import { endedByHand } from './unit-failure.ts'
import { type Kysely, watchedKysely } from './watched-kysely.ts'

/** The part of MikroORM's SQL connection through which an application's own statements pass. */
interface SqlConnection extends Connection {
  execute(query: Query, params: unknown, method: unknown, transaction?: object, ...rest: unknown[]): Promise<never>
  stream(query: Query, params: unknown, transaction?: object, ...rest: unknown[]): AsyncGenerator<unknown>
}

/** SQL in one of the forms in which MikroORM takes it. */
type Query = string | { readonly sql: string } | { toRaw(): { readonly sql: string } }

/** The streams that were begun in a transaction. */
const streams = new WeakMap<object, Set<AsyncGenerator<unknown>>>()

/**
 * Refuses in the transactions of units of work what MikroORM would let pass: SQL that ends the transaction, whose events would be
 * stored all the same; what an outer entity manager writes while a nested unit is open; and streams and Kysely of a nested unit whose
 * root transaction is over, which would run in somebody else's.
 */
export function watchStatements({ orm, subscriber, guard }: TransactionWatch): void {
  const connection = orm.driver.getConnection('write') as SqlConnection
  const { execute, stream } = connection
  const check = (transaction: object, text: () => string) => {
    const scope = subscriber.scopeIn(transaction)
    if (scope?.hasUnit !== true) return
    const statement = text()
    if (endsTransaction(statement)) throw endedByHand(`SQL ("${statement.trim().slice(0, 40)}")`)
    if (scope.depth > 0 && writesRows(statement)) subscriber.refuseOuter(transaction)
  }
  connection.execute = (query, params, method, transaction, ...rest) => {
    try {
      if (transaction !== undefined) check(transaction, () => textOf(query))
    } catch (error) {
      return Promise.reject(error)
    }
    return execute.call(connection, query, params, method, transaction, ...rest)
  }
  connection.stream = (query, params, transaction, ...rest) => {
    if (transaction === undefined) return stream.call(connection, query, params, transaction, ...rest)
    if (subscriber.scopeIn(transaction)?.over === true) throw transactionOver()
    check(transaction, () => textOf(query))
    const rows = stream.call(connection, query, params, transaction, ...rest)
    note(transaction, rows)
    return rows
  }
  overrideManagers(orm.em, ({ own, define }) => {
    const { getKysely } = own as unknown as { getKysely?: (...args: unknown[]) => Kysely }
    if (getKysely === undefined) return
    define('getKysely', function (...args: unknown[]) {
      const kysely = getKysely.apply(this, args)
      const transaction = this.getTransactionContext() as object | undefined
      const scope = transaction && subscriber.scopeIn(transaction)
      if (transaction === undefined || scope === undefined) return kysely
      return watchedKysely(kysely, {
        check: (statement) => {
          if (scope.over || guard.ended(transaction)) throw transactionOver()
          check(transaction, () => statement)
        },
        streams: (rows) => note(transaction, rows),
        refuseEnd: (end) => {
          if (scope.hasUnit) throw endedByHand(`Kysely's ${end}()`)
        },
      })
    })
  })
}

/** Ends what was left of streams in the transaction of an entity manager: on PostgreSQL nothing can be sent before that. */
export async function endStreams(em: EntityManager): Promise<void> {
  const transaction = em.getTransactionContext() as object | undefined
  const begun = transaction && streams.get(transaction)
  if (begun === undefined) return
  // What the connection says of it now, it says of the commit as well.
  for (const rows of begun) await rows.return(undefined).catch(() => undefined)
  begun.clear()
}

function note(transaction: object, rows: AsyncGenerator<unknown>): void {
  const begun = streams.get(transaction)
  if (begun === undefined) streams.set(transaction, new Set([rows]))
  else begun.add(rows)
}

function textOf(query: Query): string {
  if (typeof query === 'string') return query
  return 'toRaw' in query ? query.toRaw().sql : query.sql
}
