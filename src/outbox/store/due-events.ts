import type { Dialect } from '../../database/sql.ts'
import { availableIndex, delayedIndex, pendingIndex, sqlBy, sqlNow, sqlUntil } from './store-sql.ts'

/** Tests whether no dead letter holds the key of an event with the alias `e`. */
const sqlIsFree = `(e.ordering_key is null
    or e.ordering_key not in (select d.ordering_key from outbox_dead_letters d where d.blocks_key and d.ordering_key is not null))`

/** Pending events that have a time, in the table `alias`, by an index that has them alone. */
function sqlTimed(dialect: Dialect, alias: string, index: string): string {
  return `domain_events ${alias}${sqlBy(dialect, index)} where ${alias}.status = 'pending' and ${alias}.available_at is not null`
}

/** Finds an event of the key of `e`, and before it, that has a time. Relies on domain_events_delayed_index. */
function sqlBefore(dialect: Dialect): string {
  return `select 1 from ${sqlTimed(dialect, 'w', delayedIndex)} and w.ordering_key = e.ordering_key and w.sequence < e.sequence limit 1`
}

/**
 * Tests whether a pending event with the alias `e` waits for nothing but a relay: not for its time, not behind an event of its key that
 * has a time, and not for a dead letter. What is behind one whose time has come is as due as that one, and no longer than that: it
 * is enough to know of the first. The keys with such events are hashed once, and the scalar subquery keeps PostgreSQL from joining the
 * whole backlog with itself: thousands of events behind one key cost one look-up each.
 */
export function sqlIsDue(dialect: Dialect): string {
  const keys = `select w.ordering_key from ${sqlTimed(dialect, 'w', delayedIndex)} and w.ordering_key is not null`
  return `e.status = 'pending' and (e.available_at is null or e.available_at <= ${sqlNow(dialect)}) and ${sqlIsFree}
    and (e.ordering_key is null or e.ordering_key not in (${keys}) or (${sqlBefore(dialect)}) is null)`
}

/** So many events of each bucket, and of those whose time has come, are asked first whether they are due. */
const askedFirst = 20

/** Since when, as ms until then, an event `e` has been due that never waited for a time, and one that did. */
function sinces(dialect: Dialect): { readonly untimed: string; readonly timed: string } {
  const later = `${dialect === 'postgresql' ? 'greatest' : 'max'}(e.updated_at, e.available_at)`
  return { untimed: sqlUntil(dialect, 'e.updated_at'), timed: sqlUntil(dialect, later) }
}

/**
 * Looks at the first events alone. Column `oldest`: since when the oldest of them that is due has been so, in ms until then, all by the
 * database's clock. Where none of the first is due and there are more behind them others must tell: of the buckets that
 * `untimed` names, with commas between, {@link sqlOldestUntimed}, and {@link sqlOldestTimed} if `timed` is 1.
 */
export function sqlFirstDue(dialect: Dialect): string {
  const since = sinces(dialect)
  const asked = `(select p.* from domain_events p${sqlBy(dialect, pendingIndex)}
      where p.status = 'pending' and p.bucket = l.bucket order by p.sequence limit ${askedFirst})`
  const due = `(select ${since.untimed} from ${asked} as e where e.available_at is null and ${sqlIsDue(dialect)} order by e.sequence limit 1)`
  const come = `(select a.* from ${sqlTimed(dialect, 'a', availableIndex)} and a.available_at <= ${sqlNow(dialect)}
      order by a.available_at limit ${askedFirst})`
  const first = `(select min(${since.timed}) from ${come} as e where ${sqlIsFree} and (${sqlBefore(dialect)}) is null)`
  return `select min(f.since) as oldest, string_agg(cast(f.bucket as text), ',') as untimed, max(f.timed) as timed from (
      select g.since, case when g.since is null and g.asked = ${askedFirst} then g.bucket end as bucket, 0 as timed
      from (select l.bucket, ${due} as since, (select count(*) from ${asked} as a) as asked from outbox_leases l) as g
      union all select g.since, null, case when g.since is null and g.asked = ${askedFirst} then 1 else 0 end
      from (select ${first} as since, (select count(*) from ${come} as a) as asked) as g
    ) as f`
}

/**
 * The same `oldest`, of all events in these buckets that never waited for a time. Behind an event that waits there may be a hundred
 * thousand of its key: what comes after the last that has a time, of whatever key, is told by its key alone, and of the others the
 * first of each key tells for all. No join: PostgreSQL would plan one by statistics that may be old.
 */
export function sqlOldestUntimed(dialect: Dialect, buckets: string): string {
  const timed = sqlTimed(dialect, 'w', delayedIndex)
  const free = `(e.ordering_key is null or e.ordering_key not in (select w.ordering_key from ${timed} and w.ordering_key is not null)
        or e.sequence < (select max(w.sequence) from ${timed}))`
  const untimed = 'filter (where e.available_at is null)'
  return `select ${sqlUntil(dialect, 'min(k.since)')} as oldest from (
      select e.ordering_key, min(e.updated_at) ${untimed} as since, min(e.sequence) ${untimed} as first,
        min(e.sequence) filter (where e.available_at is not null) as head
      from domain_events e${sqlBy(dialect, pendingIndex)} where e.status = 'pending' and e.bucket in (${buckets}) and ${free} and ${sqlIsFree}
      group by e.ordering_key
    ) as k where k.ordering_key is null or k.head is null or k.first < k.head`
}

/** The same `oldest`, of all events whose time has come. */
export function sqlOldestTimed(dialect: Dialect): string {
  const heads = `select w.ordering_key, min(w.sequence) from ${sqlTimed(dialect, 'w', delayedIndex)}
      and w.ordering_key is not null group by w.ordering_key`
  return `select min(${sinces(dialect).timed}) as oldest from ${sqlTimed(dialect, 'e', availableIndex)}
      and e.available_at <= ${sqlNow(dialect)} and ${sqlIsFree} and (e.ordering_key is null or (e.ordering_key, e.sequence) in (${heads}))`
}
