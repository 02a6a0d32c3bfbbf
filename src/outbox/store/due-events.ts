import type { Dialect } from '../../database/sql.ts'
import { delayedIndex, sqlBy, sqlNow } from './store-sql.ts'

/**
 * Tests whether a pending event with the alias `e` waits for nothing but a relay: not for its time, not behind a head of its key
 * that waits for its own, and not for a dead letter. Relies on domain_events_delayed_index. The keys with
 * delayed events are hashed once, and the scalar subquery keeps PostgreSQL from joining the whole backlog with itself: thousands
 * of events behind one key cost one look-up each.
 */
export function sqlIsDue(dialect: Dialect): string {
  const now = sqlNow(dialect)
  const waiting = `domain_events w${sqlBy(dialect, delayedIndex)}`
  const delayed = `w.status = 'pending' and w.available_at is not null and w.available_at > ${now}`
  return `e.status = 'pending' and (e.available_at is null or e.available_at <= ${now})
    and (e.ordering_key is null or (
      e.ordering_key not in (select d.ordering_key from outbox_dead_letters d where d.blocks_key and d.ordering_key is not null)
      and (e.ordering_key not in (select w.ordering_key from ${waiting} where ${delayed} and w.ordering_key is not null)
        or (select 1 from ${waiting} where ${delayed} and w.ordering_key = e.ordering_key and w.sequence < e.sequence limit 1) is null)
    ))`
}
