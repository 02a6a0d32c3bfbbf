import type { Clock } from '../../kernel/clock.ts'
import type { Logger } from '../../kernel/logger.ts'
import type { OutboxStore } from './outbox-store.ts'
import { keyIndex, sqlAmong, sqlBy, sqlFromNow } from './store-sql.ts'

/** Rows pruned by one statement: small, so that no transaction is long. */
export const pruneBatch = 1000

/** The longest that published rows can be told to stay, in ms: ten years. PostgreSQL has no moment as far back as a number may ask for. */
export const longestKeepMs = 10 * 365 * 86_400_000

/** How often a relay looks for rows to prune, in ms. */
const pruneEveryMs = 60_000

/** What {@link pruneInBackground} works with. */
export interface Pruning {
  readonly store: OutboxStore
  /** Milliseconds for which published rows stay; `undefined`: for ever. */
  readonly keepMs: number | undefined
  readonly clock: Clock
  readonly logger: Logger
  readonly signal: AbortSignal
}

/** Prunes published events, and failures that are of no more use, until the signal aborts. */
export async function pruneInBackground({ store, keepMs, clock, logger, signal }: Pruning): Promise<void> {
  while (!signal.aborted) {
    try {
      const events = keepMs === undefined ? 0 : await prunePublished(store, keepMs)
      const failures = await pruneFailures(store)
      if (events === pruneBatch || failures === pruneBatch) continue
    } catch (error) {
      logger.warn('Published events could not be pruned; the relay tries again later', { error })
    }
    await clock.wait(pruneEveryMs, signal).catch(() => {})
  }
}

/**
 * Deletes one batch of events that were published longer ago than `keepMs`, in a transaction of its own. Resolves to how many.
 * Relies on domain_events_status_created_at_index: what is younger than that was not published before, and is not looked at.
 */
export async function prunePublished(store: OutboxStore, keepMs: number): Promise<number> {
  const before = sqlFromNow(store.dialect, '-1 * ?')
  const old = `select id from domain_events where status = 'published' and created_at < ${before} and published_at < ${before}
    order by created_at limit ?`
  const rows = await store.run<{ id: string }>(
    `delete from domain_events${sqlBy(store.dialect, keyIndex)} where ${sqlAmong(store.dialect, 'id', old)} returning id`,
    [keepMs, keepMs, pruneBatch],
  )
  return rows.length
}

/**
 * Deletes one batch of failures whose event is no longer pending: it was published in the end, or a dead letter has them in its
 * history. Marking does not delete them, since it would read their table for every batch. Resolves to of how many events.
 */
export async function pruneFailures(store: OutboxStore): Promise<number> {
  const over = `select distinct f.event_id from outbox_failures f
    where not exists (select 1 from domain_events e where e.id = f.event_id and e.status = 'pending') limit ?`
  const rows = await store.run<{ event_id: string }>(
    `delete from outbox_failures where ${sqlAmong(store.dialect, 'event_id', over)} returning event_id`,
    [pruneBatch],
  )
  return new Set(rows.map(({ event_id }) => event_id)).size
}
