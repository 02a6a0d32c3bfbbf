import type { MikroORM } from '@mikro-orm/core'
import { askDatabase, type HealthReport, measureHealth } from './database/health.ts'
import type { Cache } from './repository/cached-reads.ts'

/** How long a question about health may take, in ms. */
const healthTimeoutMs = 2000

/** Whether database and cache answer. */
export interface DataAccessHealth {
  /** Whether the database does; the cache may be away. */
  readonly ok: boolean
  readonly database: HealthReport
  /** Absent when no cache was chosen. */
  readonly cache?: HealthReport
}

/**
 * Asks database and cache whether they answer; never rejects.
 *
 * @param inside the transaction around the question, where the database has one connection for all.
 */
export async function healthOf(
  orm: MikroORM,
  cache: Cache | undefined,
  closed: boolean,
  inside: object | undefined,
): Promise<DataAccessHealth> {
  if (closed) {
    const report = { ok: false, latencyMs: 0, error: 'This data access was closed' }
    return { ok: false, database: report, ...(cache === undefined ? {} : { cache: report }) }
  }
  const [database, cacheReport] = await Promise.all([
    measureHealth(() => askDatabase(orm, inside), healthTimeoutMs),
    cache === undefined ? undefined : measureHealth(async () => void (await cache.ping()), healthTimeoutMs),
  ])
  // Without the cache reads go to the database: slower, and still right.
  return { ok: database.ok, database, ...(cacheReport === undefined ? {} : { cache: cacheReport }) }
}
