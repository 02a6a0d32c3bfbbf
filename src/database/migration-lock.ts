import type { EntityManager, Transaction } from '@mikro-orm/core'
import { DataAccessError } from '../errors.ts'
import { fullJitter } from '../kernel/backoff.ts'
import { type Clock, monotonicClock } from '../kernel/clock.ts'
import { withoutBusyWaits } from './busy-waits.ts'
import { explainNoConnection } from './driver-errors.ts'
import { classifyFailure } from './failure.ts'
import { withLongStatements } from './short-statements.ts'
import { dialectOf, runSql } from './sql.ts'

/** The advisory lock that migrating processes queue on: any number will do, as long as it stays. */
const migrationLock = 4_026_100_817

/** How often to ask for the lock: soon at first, since most migrations take no time. */
const pauses = { baseMs: 20, maxMs: 500 }

/** How long migrating processes wait for each other. */
interface MigrationPatience {
  readonly longestWaitMs: number
  readonly clock: Clock
}

/** Longer than a deployment is waited for; for a migration that takes longer, one process should migrate before the others start. */
const patience: MigrationPatience = { longestWaitMs: 10 * 60_000, clock: monotonicClock }

/**
 * Does work in a transaction while no other process migrates this database. It waits by asking again: a statement that waited in the
 * database would end at the limit for statements, and on SQLite hold up the whole process. The work itself is waited for as long as it takes.
 *
 * @throws DataAccessError `MIGRATION_FAILED` after the longest wait: nothing was done.
 */
export async function whileMigrating<Result>(
  em: EntityManager,
  work: (transaction: Transaction) => Promise<Result>,
  { longestWaitMs, clock }: MigrationPatience = patience,
): Promise<Result> {
  const connection = em.getConnection('write')
  const begun = clock.now()
  for (let attempt = 1; ; attempt++) {
    let result: { readonly value: Result } | undefined
    // A new transaction for each try, so that the one that works sees what the others did, at any isolation level.
    const begin = (lift: () => void) =>
      connection.transactional(async (transaction) => {
        em.setTransactionContext(transaction)
        if (!(await tryLock(em))) return
        lift()
        result = { value: await work(transaction) }
      })
    try {
      // The commit too may take long, as for constraints that are checked only then.
      await withLongStatements(begin)
    } catch (error) {
      throw result === undefined ? explainNoConnection(error, connection) : error
    }
    if (result !== undefined) return result.value
    if (clock.now() - begun >= longestWaitMs) throw tooLong(em, longestWaitMs)
    await clock.wait(fullJitter(pauses, attempt))
  }
}

/** Takes the lock for the rest of the transaction; false if another process has it. */
async function tryLock(em: EntityManager): Promise<boolean> {
  if (dialectOf(em) === 'postgresql') {
    const [row] = await runSql<{ locked: boolean }>(em, 'select pg_try_advisory_xact_lock(?) as locked', [migrationLock])
    return row?.locked === true
  }
  try {
    // It begins as a reader, and a reader whose data has changed meanwhile cannot become a writer: write first.
    await withoutBusyWaits(em, async () => {
      await runSql(em, 'create table data_access_migration_lock (id integer)')
      await runSql(em, 'drop table data_access_migration_lock')
    })
    return true
  } catch (error) {
    if (classifyFailure(error) !== 'conflict') throw error
    return false
  }
}

function tooLong(em: EntityManager, longestWaitMs: number): DataAccessError {
  const seconds = Math.round(longestWaitMs / 1000)
  const what =
    dialectOf(em) === 'postgresql'
      ? `Another process has been migrating this database for ${seconds} s (pg_locks tells which: it holds the advisory lock ${migrationLock})`
      : `Another process has kept this database locked for ${seconds} s`
  return new DataAccessError('MIGRATION_FAILED', `${what}, so nothing was changed. See that it ends, and migrate again`, {
    context: { waitedMs: longestWaitMs },
  })
}
