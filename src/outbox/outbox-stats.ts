import { sqlIsDue } from './due-events.ts'
import type { OutboxStore } from './outbox-store.ts'
import { sqlNow, sqlUntil } from './store-sql.ts'

/** Counting ends here, so that the figures of a huge backlog cost no more than those of a large one. */
const countLimit = 100_000

/** The figures of an outbox at one moment. */
export interface OutboxStats {
  /** Pending events, counted up to 100,000. */
  readonly backlog: number
  /** Milliseconds since the oldest pending event that waits for nothing but a relay was recorded; 0 when there is none. */
  readonly oldestDueAgeMs: number
  /** Keys whose head waits for its next try or its time, or that a dead letter holds. */
  readonly blockedKeys: number
  readonly deadLetters: number
  /** The relays that live, with the number of their buckets. */
  readonly relays: readonly { readonly id: string; readonly name: string; readonly publisher: string; readonly buckets: number }[]
}

/** Reads the figures. Relies on the indexes of the pending events, the delayed ones, and of status and time. */
export async function readOutboxStats(store: OutboxStore): Promise<OutboxStats> {
  const now = sqlNow(store.dialect)
  const [figures] = await store.run<Record<'backlog' | 'oldest' | 'delayed' | 'letters' | 'held', number | string | null>>(
    `select
      (select count(*) from (select 1 as one from domain_events where status = 'pending' limit ${countLimit}) as p) as backlog,
      (select ${sqlUntil(store.dialect, 'e.created_at')} from domain_events e where ${sqlIsDue(store.dialect)}
        order by e.created_at limit 1) as oldest,
      (select count(distinct ordering_key) from domain_events
        where status = 'pending' and available_at is not null and available_at > ${now}) as delayed,
      (select count(*) from outbox_dead_letters) as letters,
      (select count(distinct ordering_key) from outbox_dead_letters where blocks_key) as held`,
  )
  const relays = await store.run<{ id: string; name: string; publisher: string; buckets: number | string }>(
    `select r.id, r.name, r.publisher, count(l.bucket) as buckets from outbox_relays r left join outbox_leases l on l.owner = r.id
    where r.expires_at >= ${now} group by r.id, r.name, r.publisher, r.started_at order by r.started_at, r.id`,
  )
  return {
    backlog: Number(figures?.backlog ?? 0),
    oldestDueAgeMs: Math.max(0, -Number(figures?.oldest ?? 0)),
    blockedKeys: Number(figures?.delayed ?? 0) + Number(figures?.held ?? 0),
    deadLetters: Number(figures?.letters ?? 0),
    relays: relays.map((relay) => ({ ...relay, buckets: Number(relay.buckets) })),
  }
}
