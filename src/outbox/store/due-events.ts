import type { Dialect } from '../../database/sql.ts'
import { delayedIndex, pendingIndex, sqlBy, sqlNow, sqlUntil } from './store-sql.ts'

/** Tests whether no dead letter holds the key of an event with the alias `e`. */
const sqlIsFree = `(e.ordering_key is null
    or e.ordering_key not in (select d.ordering_key from outbox_dead_letters d where d.blocks_key and d.ordering_key is not null))`

/**
 * Tests whether a pending event with the alias `e` waits for nothing but a relay: not for its time, not behind an event of its key that
 * has a time, and not for a dead letter. What is behind one whose time has come is as due as that one, and no longer than that: it
 * is enough to know of the first. Relies on domain_events_delayed_index. The keys with
 * such events are hashed once, and the scalar subquery keeps PostgreSQL from joining the whole backlog with itself: thousands
 * of events behind one key cost one look-up each.
 */
export function sqlIsDue(dialect: Dialect): string {
  const timed = `domain_events w${sqlBy(dialect, delayedIndex)} where w.status = 'pending' and w.available_at is not null`
  return `e.status = 'pending' and (e.available_at is null or e.available_at <= ${sqlNow(dialect)}) and ${sqlIsFree}
    and (e.ordering_key is null or e.ordering_key not in (select w.ordering_key from ${timed} and w.ordering_key is not null)
      or (select 1 from ${timed} and w.ordering_key = e.ordering_key and w.sequence < e.sequence limit 1) is null)`
}

/** So many events of each bucket are asked first whether they are due. Where none of them is, all keys are. */
const askedFirst = 20

/**
 * Until when, in ms, the oldest due event was not due yet, all by the database's clock. Of events that never waited for a time it is the
 * first of some bucket, which domain_events_pending_index finds; of the others all that are the first of their key are looked at.
 */
export function sqlOldestDue(dialect: Dialect): string {
  const timed = `from domain_events e${sqlBy(dialect, delayedIndex)} where e.status = 'pending' and e.available_at is not null`
  const columns = 'e.ordering_key, e.updated_at, e.available_at'
  // SQLite takes the other columns from the row of the minimum.
  const firsts =
    dialect === 'postgresql'
      ? `select distinct on (e.ordering_key) ${columns} ${timed} and e.ordering_key is not null order by e.ordering_key, e.sequence`
      : `select ${columns}, min(e.sequence) ${timed} and e.ordering_key is not null group by e.ordering_key`
  const later = `${dialect === 'postgresql' ? 'greatest' : 'max'}(e.updated_at, e.available_at)`
  const pending = `from domain_events p${sqlBy(dialect, pendingIndex)} where p.status = 'pending'`
  const asked = `(select p.* ${pending} and p.bucket = l.bucket order by p.sequence limit ${askedFirst})`
  const first = `(select ${sqlUntil(dialect, 'e.updated_at')} from ${asked} as e
          where e.available_at is null and ${sqlIsDue(dialect)} order by e.sequence limit 1)`
  // Behind an event that waits there may be a hundred thousand of its key, of which the first tells for all.
  const keys = `select p.bucket, p.ordering_key, p.status, p.available_at, min(p.sequence) as sequence
          ${pending} and p.available_at is null group by p.bucket, p.ordering_key, p.status, p.available_at`
  const firstOfKeys = `(select ${sqlUntil(dialect, 'p.updated_at')} ${pending} and p.bucket = f.bucket and p.sequence = f.sequence)`
  return `(select min(until) from (
        select ${first} as until from outbox_leases l
        union all select case when exists (select 1 from outbox_leases l
          where ${first} is null and (select count(*) from ${asked} as a) = ${askedFirst})
          then (select min(${firstOfKeys}) from (select e.bucket, min(e.sequence) as sequence from (${keys}) as e
            where ${sqlIsDue(dialect)} group by e.bucket) as f) end
        union all select min(${sqlUntil(dialect, later)}) from (${firsts}) as e where e.available_at <= ${sqlNow(dialect)} and ${sqlIsFree}
        union all select min(${sqlUntil(dialect, later)}) ${timed} and e.ordering_key is null and e.available_at <= ${sqlNow(dialect)}
      ) as o)`
}
