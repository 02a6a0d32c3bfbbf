import type { MikroORM } from '@mikro-orm/core'
import { atMost, late } from '../kernel/at-most.ts'

/** Whether a server answers, and how fast. */
export interface HealthReport {
  /** Whether the answer came in time, and was no error. */
  readonly ok: boolean
  /** Milliseconds from the question to the answer, or to giving up. */
  readonly latencyMs: number
  /** Why it is not well, in words; absent when it is. Never holds a password. */
  readonly error?: string
}

/** Asks a question and times it, giving up after `timeoutMs`; never rejects. */
export async function measureHealth(ask: () => Promise<void>, timeoutMs: number): Promise<HealthReport> {
  const start = performance.now()
  try {
    if ((await atMost(timeoutMs, ask())) === late) throw new Error(`no answer within ${timeoutMs} ms`)
    return { ok: true, latencyMs: performance.now() - start }
  } catch (error) {
    return { ok: false, latencyMs: performance.now() - start, error: error instanceof Error ? error.message : String(error) }
  }
}

/**
 * Asks the database for `select 1`: a lazy pool connects to a dead host without a word.
 *
 * @param inside a transaction in which to ask, where there is no other connection.
 */
export async function askDatabase(orm: MikroORM, inside?: object): Promise<void> {
  const connection = orm.driver.getConnection('write')
  await connection.ensureConnection()
  await connection.execute('select 1', [], 'all', inside as never)
}
