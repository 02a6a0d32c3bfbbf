import { AsyncLocalStorage } from 'node:async_hooks'
import { type EntityManager, helper } from '@mikro-orm/core'
import { isOver, type TransactionState } from '../database/transaction-states.ts'

/** What a fork was given of its entity manager's entities, while it works with them. */
interface Loan {
  readonly around: Loan | undefined
  to: EntityManager | undefined
}

/** Whose a lent entity is, and to whom it is lent; the innermost last. */
interface Lent {
  owner: EntityManager | undefined
  readonly loans: Loan[]
}

const current = new AsyncLocalStorage<Loan>()
const lent = new WeakMap<object, Lent>()

/**
 * Lends the entities of an entity manager to the fork of it that a transaction works with. MikroORM shares them with the fork and
 * leaves their entity manager as it is, so what is loaded, added and removed through an entity would go past the fork: outside its
 * transaction, or into what outlives the rollback of its savepoint.
 *
 * Only what runs inside is led to the fork. Other branches of the work around it are led to the owner, as before and after.
 *
 * @param run opens the transaction, and calls `lend` with its fork before the work begins.
 */
export async function lending<Result>(
  owner: EntityManager,
  run: (lend: (to: EntityManager) => void) => Promise<Result>,
): Promise<Result> {
  const loan: Loan = { around: current.getStore(), to: undefined }
  const states: object[] = []
  const lend = (to: EntityManager) => {
    loan.to = to
    for (const entity of owner.getUnitOfWork(false).getIdentityMap()) {
      const state = helper<object>(entity)
      // A new one belongs to nobody yet.
      if (!state.__managed) continue
      lendOne(state, loan)
      states.push(state)
    }
  }
  try {
    return await current.run(loan, () => run(lend))
  } finally {
    for (const state of states) giveBack(state, loan)
  }
}

function lendOne(state: { readonly __em?: EntityManager }, loan: Loan): void {
  const already = lent.get(state)
  if (already !== undefined) {
    already.loans.push(loan)
    return
  }
  lent.set(state, { owner: state.__em, loans: [loan] })
  Object.defineProperty(state, '__em', { get: managerOf, set: setOwner, enumerable: true, configurable: true })
}

function giveBack(state: object, loan: Loan): void {
  const { owner, loans } = lent.get(state) as Lent
  loans.splice(loans.lastIndexOf(loan), 1)
  if (loans.length > 0) return
  lent.delete(state)
  Object.defineProperty(state, '__em', { value: owner, writable: true, enumerable: true, configurable: true })
}

/** Called as a getter of MikroORM's state of an entity. */
function managerOf(this: object): EntityManager | undefined {
  const { owner, loans } = lent.get(this) as Lent
  return loans.findLast((loan) => standsIn(loan) && !hasEnded(loan))?.to ?? owner
}

function setOwner(this: object, to: EntityManager | undefined): void {
  const entity = lent.get(this) as Lent
  // MikroORM claims for a fork what it schedules there, and for an entity manager what its fork hands back: both have it on loan.
  if (!entity.loans.some((loan) => loan.to === to)) entity.owner = to
}

function standsIn(loan: Loan): boolean {
  for (let each = current.getStore(); each !== undefined; each = each.around) if (each === loan) return true
  return false
}

function hasEnded({ to }: Loan): boolean {
  const transaction = to?.getTransactionContext() as TransactionState | undefined
  return transaction !== undefined && isOver(transaction)
}
