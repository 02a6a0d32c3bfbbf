import { DataAccessError } from '../errors.ts'

/** What Kysely's transaction tells of itself. */
export interface TransactionState {
  readonly isCommitted: boolean
  readonly isRolledBack: boolean
  readonly savepointName?: string
}

/** Whether the database has confirmed the end of a transaction. A savepoint says it of neither its own nor its root's: see {@link TransactionStates}. */
export function isOver({ isCommitted, isRolledBack }: TransactionState): boolean {
  return isCommitted || isRolledBack
}

/** Which transactions and savepoints are over: Kysely gives a savepoint a state of its own, which hears neither of its root's end nor of its own. */
export class TransactionStates {
  /** The transaction or savepoint in which each savepoint was opened. */
  readonly #around = new WeakMap<TransactionState, TransactionState>()
  /** Transactions and savepoints whose rollback has begun: what is sent now runs behind it, in what goes on. */
  readonly #rollingBack = new WeakSet<TransactionState>()

  opened(savepoint: TransactionState, inside: TransactionState): void {
    this.#around.set(savepoint, inside)
  }

  rollsBack(transaction: TransactionState): void {
    this.#rollingBack.add(transaction)
  }

  /** That in which a savepoint was opened; `undefined` for a root. */
  around(transaction: TransactionState): TransactionState | undefined {
    return this.#around.get(transaction)
  }

  isRoot(transaction: TransactionState): boolean {
    return !this.#around.has(transaction)
  }

  /**
   * Whether nothing may be sent in a transaction or savepoint any more: the root has ended, or a savepoint, this one or one around it, is rolled
   * back. In one that was released its entities still load what they lack.
   */
  ended(transaction: TransactionState): boolean {
    let root = transaction
    let rolledBack = false
    for (let inside = this.#around.get(root); inside !== undefined; inside = this.#around.get(root)) {
      rolledBack ||= this.#rollingBack.has(root)
      root = inside
    }
    // A root that is rolling back still says so itself.
    return isOver(root) || rolledBack || (root !== transaction && this.#rollingBack.has(root))
  }
}

/** Of a query that comes too late. */
export function transactionOver(): DataAccessError {
  return new DataAccessError(
    'TRANSACTION_ENDED',
    'A query was to run in a transaction that is over, or a savepoint that was rolled back; await all work inside before it ends',
  )
}
