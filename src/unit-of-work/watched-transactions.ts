import { type EntityManager, TransactionPropagation } from '@mikro-orm/core'
import { overrideManagers } from '../database/override-managers.ts'
import type { TransactionSubscriber } from '../database/transaction-subscriber.ts'
import type { CommitScope } from '../kernel/commit-scope.ts'
import { aside, isAside } from './asides.ts'
import type { TransactionWatch } from './surroundings.ts'
import { Turns } from './turns.ts'
import { begunInside, endedByHand } from './unit-failure.ts'
import { endStreams, watchStatements } from './unit-statements.ts'
import { insideFlush, watchFlushes } from './watched-flushes.ts'

/** The turns of all that opens savepoints in one transaction, or joins one entity manager: units of work, and transactions of the application's own. */
export const turns = new Turns()

/** Those in which a unit is about to open a transaction or savepoint: it has its turn, and has flushed. */
const ready = new WeakSet<EntityManager>()

/** Those of units themselves, whose transactions end with their work. */
const ofUnits = new WeakSet<EntityManager>()

/** Where transactions are watched already: an ORM may be given to one data access after another. */
const watched = new WeakSet<TransactionSubscriber>()

type Transactional = EntityManager['transactional']

/** Opens a unit's transaction, or its savepoint in an entity manager that has nothing to flush. */
export function openTransaction<Result>(
  em: EntityManager,
  work: (em: EntityManager) => Promise<Result>,
  options?: Parameters<Transactional>[1],
): Promise<Result> {
  ready.add(em)
  try {
    return em.transactional((inner) => {
      if (inner !== em) ofUnits.add(inner)
      return work(inner)
    }, options)
  } finally {
    ready.delete(em)
  }
}

/**
 * Flushes an entity manager of a unit's transaction before a savepoint of the application's own is opened in it. Else MikroORM
 * would write the pending edits inside the savepoint, and take them for saved also after its rollback: the unit would commit its
 * events without the rows of which they tell. Savepoints that begin at once take turns. `begin()` in a unit's transaction is
 * refused, and `commit()` and `rollback()` of a unit's own.
 */
export function watchTransactions(watch: TransactionWatch): void {
  const { orm, subscriber } = watch
  if (watched.has(subscriber)) return
  watched.add(subscriber)
  watchStatements(watch)
  watchFlushes(orm, subscriber)
  overrideManagers(orm.em, ({ own, define }) => {
    define('transactional', async function (...args: Parameters<Transactional>): Promise<unknown> {
      const em = this.getContext(false)
      const current = em.getTransactionContext() as object | undefined
      const { propagation = TransactionPropagation.NESTED, ctx } = args[1] ?? {}
      const nests =
        propagation === TransactionPropagation.NESTED ||
        (propagation === TransactionPropagation.REQUIRED && current === undefined)
      // One that is in no transaction may be given that of another.
      const around = current ?? (nests ? (ctx as object | undefined) : undefined)
      const scope = around && subscriber.scopeIn(around)
      const hasUnit = scope?.hasUnit === true
      const beside = current !== undefined && isAside(propagation)
      const transactional = beside ? aside(em, propagation, hasUnit) : own.transactional.bind(this)
      const run = () => runWatched(subscriber, { scope, current }, args, transactional)
      if (around === undefined || !hasUnit || !nests || ready.has(em)) return run()
      // Whose turn it is may wait for the very flush in whose hook the caller stands; what is pending is being written already.
      if (insideFlush()) return run()
      const inTurn = async () => {
        subscriber.refuseOuter(around)
        // By itself it would commit.
        if (current !== undefined) await em.flush()
        return run()
      }
      return turns.take(em, inTurn, around)
    })
    define('begin', async function (...args: Parameters<EntityManager['begin']>): Promise<void> {
      for (const transaction of [this.getTransactionContext(), args[0]?.ctx]) {
        const scope = transaction && subscriber.scopeIn(transaction as object)
        if (scope?.hasUnit === true && !scope.over) throw begunInside()
      }
      return own.begin.apply(this, args)
    })
    for (const end of ['commit', 'rollback'] as const) {
      define(end, async function (): Promise<void> {
        const em = this.getContext(false)
        if (ofUnits.has(em) && subscriber.scopeOf(em)?.hasUnit === true) throw endedByHand(`em.${end}()`)
        return own[end].call(this)
      })
    }
  })
}

/** @param around the root transaction in which this one is opened, and the transaction that the entity manager itself is in. */
async function runWatched(
  subscriber: TransactionSubscriber,
  around: { readonly scope: CommitScope | undefined; readonly current: object | undefined },
  [work, options]: Parameters<Transactional>,
  run: (...args: Parameters<Transactional>) => Promise<unknown>,
): Promise<unknown> {
  let scope: CommitScope | undefined
  const watching = async (inner: EntityManager) => {
    scope = subscriber.scopeOf(inner)
    try {
      return await work(inner)
    } finally {
      // A transaction that was joined goes on.
      if (inner.getTransactionContext() !== around.current) await endStreams(inner)
    }
  }
  try {
    // MikroORM writes into the options, which may be another one's too.
    return await run(watching, { ...options })
  } finally {
    // Of a rollback over a lost connection MikroORM does not tell, and a timer that was started inside would join it.
    if (scope !== undefined && scope !== around.scope) scope.over = true
  }
}
