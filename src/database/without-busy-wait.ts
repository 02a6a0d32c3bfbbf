import type { EntityManager } from '@mikro-orm/core'
import { runSql } from './sql.ts'

/**
 * Runs statements of a transaction on SQLite that give up at once where another process writes. Each would wait for it in the middle of this
 * process: nothing else would run meanwhile, not even what is waited for.
 */
export async function withoutBusyWait<Result>(em: EntityManager, run: () => Promise<Result>): Promise<Result> {
  const [setting] = await runSql<{ timeout: number }>(em, 'pragma busy_timeout')
  await runSql(em, 'pragma busy_timeout = 0')
  try {
    return await run()
  } finally {
    await runSql(em, `pragma busy_timeout = ${Number(setting?.timeout ?? 0)}`)
  }
}
