import type { Connection, EntityManager, MikroORM } from '@mikro-orm/core'
import { overrideManagers } from '../database/override-managers.ts'
import type { TransactionSubscriber } from '../database/transaction-subscriber.ts'
import { DataAccessError } from '../errors.ts'
import { endsTransaction, writesRows } from './statement-kinds.ts'

/** The part of MikroORM's SQL connection through which an application's own statements pass. */
interface SqlConnection extends Connection {
  execute(query: Query, params: unknown, method: unknown, transaction?: object, ...rest: unknown[]): Promise<never>
  stream(query: Query, params: unknown, transaction?: object, ...rest: unknown[]): AsyncGenerator<unknown>
}

/** SQL in one of the forms in which MikroORM takes it. */
type Query = string | { readonly sql: string } | { toRaw(): { readonly sql: string } }

/** The part of Kysely that is needed here: the ORM's SQL part need not be there. */
interface Kysely {
  withPlugin(plugin: object): Kysely
  withoutPlugins(): Kysely
  withSchema(name: string): Kysely
  withTables(): Kysely
  getExecutor(): { stream(...args: unknown[]): AsyncGenerator<unknown> }
}

/** What Kysely makes of a statement: SQL of the application's own is a `RawNode`. */
interface KyselyNode {
  readonly kind: string
  readonly sqlFragments?: readonly string[]
  /** What stands between the fragments: values, names, or SQL again. */
  readonly parameters?: readonly KyselyNode[]
}

/** The streams that were begun in a transaction. */
const streams = new WeakMap<object, Set<AsyncGenerator<unknown>>>()

/**
 * Refuses in the transactions of units of work what MikroORM would let pass: SQL that ends the transaction, whose events would be
 * stored all the same; what an outer entity manager writes while a nested unit is open; and streams and Kysely of a nested unit whose
 * root transaction is over, which would run in somebody else's.
 */
export function watchStatements(orm: MikroORM, subscriber: TransactionSubscriber): void {
  const connection = orm.driver.getConnection('write') as SqlConnection
  const { execute, stream } = connection
  const check = (transaction: object, text: () => string) => {
    const scope = subscriber.scopeIn(transaction)
    if (scope?.hasUnit !== true) return
    const statement = text()
    if (endsTransaction(statement)) throw endedByHand(statement)
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
    if (transaction !== undefined && subscriber.scopeIn(transaction)?.over === true) throw transactionOver()
    const rows = stream.call(connection, query, params, transaction, ...rest)
    if (transaction !== undefined) note(transaction, rows)
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
      const plugin = {
        transformQuery: ({ node }: { node: KyselyNode }) => {
          if (scope.over) throw transactionOver()
          check(transaction, () => textOfNode(node))
          return node
        },
        transformResult: async ({ result }: { result: unknown }) => result,
      }
      return watchKysely(kysely.withPlugin(plugin), plugin, (rows) => note(transaction, rows))
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

/** Tells of each stream of a Kysely that was made for this, and of those that are made from it, in which the plugin stays. */
function watchKysely(kysely: Kysely, plugin: object, begun: (rows: AsyncGenerator<unknown>) => void): Kysely {
  const executor = kysely.getExecutor()
  const stream = executor.stream.bind(executor)
  executor.stream = (...args) => {
    const rows = stream(...args)
    begun(rows)
    return rows
  }
  const own: Kysely = Object.getPrototypeOf(kysely)
  const watched = (made: Kysely) => watchKysely(made, plugin, begun)
  return Object.assign(kysely, {
    withPlugin: (added) => watched(own.withPlugin.call(kysely, added)),
    withSchema: (name) => watched(own.withSchema.call(kysely, name)),
    withTables: () => watched(own.withTables.call(kysely)),
    withoutPlugins: () => watched(own.withoutPlugins.call(kysely).withPlugin(plugin)),
  } satisfies Partial<Kysely>)
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

/** `InsertQueryNode` begins as the statement does. */
function textOfNode({ kind, sqlFragments, parameters }: KyselyNode): string {
  if (sqlFragments === undefined) return kind.replace('QueryNode', ' ')
  // What stands between may be SQL as well, `sql.raw()`, and hold the first word.
  return sqlFragments.map((fragment, index) => fragment + textBehind(parameters?.[index])).join('')
}

function textBehind(node: KyselyNode | undefined): string {
  return node === undefined ? '' : textOfNode(node)
}

function endedByHand(statement: string): DataAccessError {
  return new DataAccessError(
    'TRANSACTION_ENDED',
    `SQL in a unit of work was to end its transaction: "${statement.trim().slice(0, 40)}". To roll a unit back, throw; to commit a part of it, use a nested unit, or another one`,
  )
}

function transactionOver(): DataAccessError {
  return new DataAccessError(
    'TRANSACTION_ENDED',
    'A query was to run in a transaction that is over; await all work inside the transaction before it ends',
  )
}
