import type { EntityManager } from '@mikro-orm/core'
import { causesOf } from '../errors.ts'
import { fullJitter } from '../kernel/backoff.ts'
import type { Clock } from '../kernel/clock.ts'
import { isAlone } from './alone.ts'
import { classifyFailure } from './failure.ts'
import { runSql } from './sql.ts'

/** What changes nothing, and takes the write lock. */
const statement = 'update outbox_sequence set value = value where id = 1'

/** How often to ask for a lock: soon at first, since most transactions are short. */
const pauses = { baseMs: 2, maxMs: 50 }

/**
 * Runs statements for which SQLite does not wait by itself: it would do so in the middle of the process, where nothing else would run, not
 * even what is waited for.
 *
 * @param run is given how long it would have waited, in ms.
 */
export async function withoutBusyWaits<Result>(em: EntityManager, run: (busyMs: number) => Promise<Result>): Promise<Result> {
  const [setting] = await runSql<{ timeout: number }>(em, 'pragma busy_timeout')
  const busyMs = Number(setting?.timeout ?? 0)
  await runSql(em, 'pragma busy_timeout = 0')
  try {
    return await run(busyMs)
  } finally {
    await runSql(em, `pragma busy_timeout = ${busyMs}`)
  }
}

/**
 * Takes SQLite's write lock for the rest of a transaction that has done nothing yet, and waits for another process that has it as long as
 * the connection's busy timeout, by the clock.
 */
export async function takeWriteLock(em: EntityManager, clock: Clock): Promise<void> {
  if (isAlone(em)) {
    await runSql(em, statement)
    return
  }
  await withoutBusyWaits(em, async (busyMs) => {
    const begun = clock.now()
    for (let attempt = 1; ; attempt++) {
      try {
        return await runSql(em, statement)
      } catch (error) {
        if (classifyFailure(error) !== 'conflict' || isStale(error) || clock.now() - begun >= busyMs) throw error
      }
      await clock.wait(fullJitter(pauses, attempt))
    }
  })
}

/** What the transaction has read, in a subscriber of its start, has changed since: no wait helps, only another transaction. */
function isStale(error: unknown): boolean {
  return causesOf(error).some((cause) => (cause as { code?: unknown }).code === 'SQLITE_BUSY_SNAPSHOT')
}
