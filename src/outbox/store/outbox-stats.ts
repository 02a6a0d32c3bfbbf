import { sqlIsDue } from './due-events.ts'
import type { OutboxStore } from './outbox-store.ts'
import type { RelayRates } from './relay-rates.ts'
import { sqlNow, sqlUntil } from './store-sql.ts'

/** Counting ends here, so that the figures of a huge backlog cost no more than those of a large one. */
const countLimit = 100_000

const noRates: RelayRates = { published: 0, retried: 0, deadLettered: 0 }

/** The figures of an outbox at one moment. */
export interface OutboxStats {
  /** Pending events, counted up to 100,000. */
  readonly backlog: number
  /** Milliseconds since the oldest pending event that waits for nothing but a relay was recorded; 0 when there is none. */
  readonly oldestDueAgeMs: number
  /** Keys whose head waits for its next try or its time, or that a dead letter holds. */
  readonly blockedKeys: number
  readonly deadLetters: number
  /** Those of all relays together. */
  readonly rates: RelayRates
  /** The relays that live. */
  readonly relays: readonly RelayStats[]
}

/** The figures of a relay, as it told them with its last sign of life: at most a third of its lease ago. */
export interface RelayStats {
  readonly id: string
  readonly name: string
  readonly publisher: string
  /** How many it holds now. */
  readonly buckets: number
  readonly rates: RelayRates
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
  const rows = await store.run<Omit<RelayStats, 'buckets' | 'rates'> & { buckets: number | string; rates: string | null }>(
    `select r.id, r.name, r.publisher, cast(r.rates as text) as rates,
      (select count(*) from outbox_leases l where l.owner = r.id) as buckets
    from outbox_relays r where r.expires_at >= ${now} order by r.started_at, r.id`,
  )
  const relays = rows.map(({ buckets, rates, ...relay }): RelayStats => {
    return { ...relay, buckets: Number(buckets), rates: rates === null ? noRates : (JSON.parse(rates) as RelayRates) }
  })
  const sum = (name: keyof RelayRates) => relays.reduce((total, { rates }) => total + rates[name], 0)
  return {
    backlog: Number(figures?.backlog ?? 0),
    oldestDueAgeMs: Math.max(0, -Number(figures?.oldest ?? 0)),
    blockedKeys: Number(figures?.delayed ?? 0) + Number(figures?.held ?? 0),
    deadLetters: Number(figures?.letters ?? 0),
    rates: { published: sum('published'), retried: sum('retried'), deadLettered: sum('deadLettered') },
    relays,
  }
}
