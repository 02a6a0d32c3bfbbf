import { AsyncLocalStorage } from 'node:async_hooks'
import type { Connection, MikroORM } from '@mikro-orm/core'
import { DataAccessError, hasErrorCode } from '../errors.ts'
import { monotonicClock } from '../kernel/clock.ts'
import { alreadyClosed } from './already-closed.ts'
import { explainNoConnection, explainRefusal, unifyDriverError, watchErrors } from './driver-errors.ts'
import { noteOrigin, wasNeverSent } from './failure.ts'
import type { KnownTables } from './known-tables.ts'
import { returnLostConnections } from './lost-connections.ts'
import type { ConnectionUse } from './pool-figures.ts'
import { dialectOf } from './sql.ts'
import { isOver, type TransactionState, TransactionStates, transactionOver } from './transaction-states.ts'
import { WaitingCallers } from './waiting-callers.ts'

/** The parts of MikroORM's SQL connection that every statement passes through. */
interface SqlConnection extends Connection {
  getClient(): unknown
  stream(query: unknown, params: unknown, transaction?: TransactionState, ...rest: unknown[]): AsyncGenerator<unknown>
  begin(options?: { ctx?: TransactionState }): Promise<TransactionState>
  commit(transaction: TransactionState, ...rest: unknown[]): Promise<void>
  rollback(transaction: TransactionState, ...rest: unknown[]): Promise<void>
  transactional<Result>(callback: (transaction: TransactionState) => Promise<Result>, options?: object): Promise<Result>
}

/** How Kysely, `pg`'s pool and SQLite refuse whoever comes after their end. */
const ended = /driver has already been destroyed|after calling end on the pool|database connection is not open/

/**
 * Stands before an ORM's connection and refuses what would go wrong in silence: a query after close, for which MikroORM
 * would reconnect with default options; a query in a savepoint whose root transaction is over, which would run on its own or
 * in somebody else's transaction; and on SQLite a query through another fork inside a transaction, which would wait for the
 * one connection for ever.
 */
export class ConnectionGuard {
  /** The transaction in whose callback the caller stands. MikroORM's own context already names the fork about to begin. */
  readonly #surrounding = new AsyncLocalStorage<TransactionState>()
  readonly #states = new TransactionStates()
  readonly #callers = new WaitingCallers()
  /** Those that end with the callback that they run; the others were begun by hand, and end whenever somebody ends them. */
  readonly #managed = new WeakSet<TransactionState>()
  readonly #patienceMs: number
  /** The transaction that holds the one connection of SQLite. */
  #holder: TransactionState | undefined
  /** Tells those that wait for the holder that it has ended. */
  #released: AbortController | undefined
  #closed = false
  #transactions = 0
  #waiting = 0

  /** @param patienceMs how long a caller waits on SQLite for one transaction that was begun by hand: it may be its own. */
  constructor(orm: MikroORM, tables: KnownTables, patienceMs: number) {
    this.#patienceMs = patienceMs
    const connection = orm.driver.getConnection('write') as SqlConnection
    const single = dialectOf(orm) === 'sqlite'
    this.#wrap(connection, single)
    const { driver } = orm
    const { convertException } = driver
    driver.convertException = (error) => {
      return noteOrigin(unifyDriverError(error, convertException.call(driver, error), tables), connection)
    }
  }

  /** From now on every statement throws `CLOSED`, also one that waits for a connection. */
  close(): void {
    this.#closed = true
    this.#released?.abort()
    // Not those who have been given it already, and are about to have their answer.
    setImmediate(() => this.#callers.dismiss(alreadyClosed))
  }

  /** The innermost open transaction or savepoint in whose callback the caller stands. */
  get surrounding(): object | undefined {
    let transaction = this.#surrounding.getStore()
    while (transaction !== undefined && this.#states.ended(transaction)) transaction = this.#states.around(transaction)
    return transaction
  }

  get use(): ConnectionUse {
    return { transactions: this.#transactions, waiting: this.#waiting }
  }

  #wrap(connection: SqlConnection, single: boolean): void {
    const { execute, stream, getClient, begin, commit, rollback, connect, transactional } = connection
    const note = watchErrors(connection, this.#callers, (error) => this.#orClosed(error))
    connection.connect = async (...args) => {
      this.#refuseWhenClosed()
      if (!single) {
        // Before the first client connects: only those that the pool makes from here on are watched.
        await connect.call(connection, { skipOnConnect: true })
        await watchPool(connection)
      }
      return connect.apply(connection, args)
    }
    connection.getClient = () => {
      this.#refuseWhenClosed()
      if (single) this.#refuseOtherFork()
      return getClient.call(connection)
    }
    connection.execute = async (...args: Parameters<Connection['execute']>) => {
      this.#refuseWhenClosed()
      const transaction = args[3] as TransactionState | undefined
      if (transaction !== undefined) this.#refuseEnded(transaction)
      else if (single) this.#refuseOtherFork()
      if (transaction === undefined && this.#byHand !== undefined) await this.#awaitTurn()
      try {
        return (await execute.apply(connection, args)) as never
      } catch (error) {
        throw this.#orClosed(explainRefusal(noteOrigin(error, connection), connection))
      }
    }
    connection.stream = (query, params, transaction, ...rest) => {
      if (transaction !== undefined) this.#refuseEnded(transaction)
      return stream.call(connection, query, params, transaction, ...rest)
    }
    connection.begin = async (options) => {
      this.#refuseWhenClosed()
      if (options?.ctx !== undefined) {
        this.#refuseEnded(options.ctx)
        const savepoint = await begin.call(connection, options)
        this.#states.opened(savepoint, options.ctx)
        return savepoint
      }
      if (single) this.#refuseOtherFork()
      this.#waiting++
      try {
        if (this.#byHand !== undefined) await this.#awaitTurn()
        const transaction = await begin.call(connection, options)
        this.#transactions++
        if (single) this.#holder = transaction
        return transaction
      } catch (error) {
        throw this.#orClosed(explainNoConnection(note(error), connection))
      } finally {
        this.#waiting--
      }
    }
    connection.transactional = (callback, options) =>
      transactional.call(
        connection,
        (transaction: TransactionState) => {
          this.#managed.add(transaction)
          return this.#surrounding.run(transaction, () => callback(transaction))
        },
        options,
      ) as never
    const ending =
      (end: SqlConnection['commit']) =>
      async (transaction: TransactionState, ...rest: unknown[]) => {
        const open = !isOver(transaction)
        try {
          // Subscribers that are told of the end stand in the transaction too, until it is over.
          await this.#surrounding.run(transaction, () => end.call(connection, transaction, ...rest))
        } finally {
          const root = transaction.savepointName === undefined
          if (root && open && isOver(transaction)) this.#release(transaction)
        }
      }
    const [commitOpen, rollbackOpen] = [ending(commit), ending(rollback)]
    connection.commit = async (transaction, ...rest) => {
      // Nothing of what follows a commit, such as expiring the cache, could still be done.
      this.#refuseWhenClosed()
      if (!this.#states.isRoot(transaction)) this.#refuseEnded(transaction)
      try {
        await commitOpen(transaction, ...rest)
      } catch (error) {
        // Of a commit that was on its way nobody knows what became.
        throw wasNeverSent(note(error)) ? explainNoConnection(error, connection) : error
      }
    }
    connection.rollback = async (transaction, ...rest) => {
      // SQLite's one connection is gone, and has rolled back what was open.
      if (single && this.#closed) return
      if (!this.#states.isRoot(transaction) && this.#states.ended(transaction)) return
      this.#states.rollsBack(transaction)
      await rollbackOpen(transaction, ...rest)
    }
  }

  #release(transaction: TransactionState): void {
    this.#transactions--
    // A hook of its commit may have begun the next one already.
    if (this.#holder === transaction) this.#holder = undefined
    this.#released?.abort()
    this.#released = undefined
  }

  /** The transaction that holds the one connection, if it was begun by hand. */
  get #byHand(): TransactionState | undefined {
    const holder = this.#holder
    // What the hooks of its commit ask for need not wait: it is over, and is only telling of it.
    return holder === undefined || isOver(holder) || this.#managed.has(holder) ? undefined : holder
  }

  /**
   * Waits while a transaction that was begun by hand holds the one connection, which may be the caller's own: nothing tells the
   * two cases apart, so one transaction is waited for only so long. Nothing has been sent to the driver by then.
   */
  async #awaitTurn(): Promise<void> {
    for (let held = this.#byHand; held !== undefined; held = this.#byHand) {
      this.#released ??= new AbortController()
      await monotonicClock.wait(this.#patienceMs, this.#released.signal).catch(() => {})
      this.#refuseWhenClosed()
      if (this.#byHand === held) throw this.#heldByHand()
    }
  }

  #heldByHand(): DataAccessError {
    return new DataAccessError(
      'TRANSACTION_FORK',
      `A transaction begun by \`em.begin()\` has held the one connection of SQLite for ${this.#patienceMs} ms and more. If it is the caller's own, give its \`em\` to unitOfWork(work, { em }) and to what it reads; else commit or roll it back sooner`,
    )
  }

  /** Whether a transaction is over, or a savepoint by its rollback or the end of one around it. */
  ended(transaction: object): boolean {
    return this.#states.ended(transaction as TransactionState)
  }

  #refuseEnded(transaction: TransactionState): void {
    if (this.ended(transaction)) throw transactionOver()
  }

  #refuseWhenClosed(): void {
    if (this.#closed) throw alreadyClosed()
  }

  /** What came just before the close may meet it on its way, or lose its connection by it. */
  #orClosed(error: unknown): unknown {
    if (!this.#closed || !(error instanceof Error)) return error
    if (ended.test(error.message)) return alreadyClosed()
    return hasErrorCode(error, 'DATABASE_UNREACHABLE') ? alreadyClosed(error) : error
  }

  #refuseOtherFork(): void {
    if (this.surrounding === undefined) return
    throw new DataAccessError(
      'TRANSACTION_FORK',
      'A query went through another fork inside a transaction; SQLite has one connection, so it would wait for ever. Use the `em` of the unit of work',
    )
  }
}

/** A pool behind a dialect of the application's own cannot be watched, and needs no less to work. */
async function watchPool(connection: Connection): Promise<void> {
  await returnLostConnections(connection).catch(() => {})
}
