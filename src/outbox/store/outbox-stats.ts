import { sqlFirstDue, sqlOldestTimed, sqlOldestUntimed } from './due-events.ts'
import type { OutboxStore } from './outbox-store.ts'
import type { RelayRates } from './relay-rates.ts'
import { type RelayPause, readSign } from './sign-of-life.ts'
import { availableIndex, delayedIndex, sqlBy, sqlNow } from './store-sql.ts'

/** Counting ends here, so that the figures of a huge backlog cost no more than those of a large one. */
const countLimit = 100_000
/** Where counting keys ends: these take longer to count. */
const keyLimit = 10_000

/** The figures of an outbox at one moment. */
export interface OutboxStats {
  /** Pending events, counted up to 100,000. */
  readonly backlog: number
  /**
   * For how many milliseconds the oldest pending event that waits for nothing but a relay has been due: since it was stored, since its
   * time came, if it was delayed or failed before, or since its redrive; 0 when there is none. Those behind such an event wait for it.
   * By the database's clock: that of a writer does not matter.
   */
  readonly oldestDueAgeMs: number
  /** Of the backlog, the events that wait for the `availableAt` they were recorded with, counted up to 100,000. */
  readonly delayed: number
  /** Keys with an event that failed and waits for its next try, or that a dead letter holds, counted up to 10,000. */
  readonly blockedKeys: number
  /** Dead letters of whatever age, those that hold no key too. */
  readonly deadLetters: number
  /** Those of all relays together. */
  readonly rates: RelayRates
  /** The relays that live, in whatever process, the oldest first. */
  readonly relays: readonly RelayStats[]
}

/**
 * The figures of a relay, as it told them with its last sign of life: at most a third of its lease ago, or within a second or so of
 * a pause's begin and end.
 */
export interface RelayStats {
  /** A UUID of version 7, new with each start. */
  readonly id: string
  /** The `name` that it was given, which others may have too. */
  readonly name: string
  /** The name of its publisher. */
  readonly publisher: string
  /** How many of the 64 buckets it holds now. */
  readonly buckets: number
  /** What it does in a second. */
  readonly rates: RelayRates
  /** What it waits for; `undefined` when it goes on. */
  readonly paused: RelayPause | undefined
}

/**
 * Reads the figures. Relies on the indexes of the pending events and of those that have a time. Whether what is delayed
 * is the head of its key no index tells: to ask for that would read the whole backlog.
 */
export async function readOutboxStats(store: OutboxStore): Promise<OutboxStats> {
  const { dialect } = store
  // One more than is told: then all events are known that there are.
  const counted = (sql: string) => `(select count(*) from (select 1 as one from ${sql} limit ${countLimit + 1}) as c)`
  const timed = (index: string) => `domain_events${sqlBy(dialect, index)} where status = 'pending' and available_at is not null`
  const waiting = (index: string) => `${timed(index)} and available_at > ${sqlNow(dialect)}`
  const failed = `select distinct ordering_key from ${waiting(delayedIndex)} and attempts > 0 and ordering_key is not null`
  const held = 'select ordering_key from outbox_dead_letters where blocks_key and ordering_key is not null'
  const [figures] = await store.run<Record<Figure, number | string | null> & { untimed: string | null }>(
    `select f.*, ${counted("domain_events where status = 'pending'")} as backlog, ${counted(timed(availableIndex))} as "haveTime",
      ${counted(`${waiting(availableIndex)} and attempts = 0`)} as delayed, (select count(*) from outbox_dead_letters) as letters,
      (select count(*) from (select ordering_key from (${failed} limit ${keyLimit}) as k union ${held}) as b) as blocked
    from (${sqlFirstDue(dialect)}) as f`,
  )
  const found = (name: Figure) => Number(figures?.[name] ?? 0)
  const buckets = figures?.untimed
  const someHaveNoTime = found('backlog') > found('haveTime') || found('backlog') > countLimit
  const oldest = [found('oldest')]
  if (buckets && someHaveNoTime) oldest.push(await oldestDue(store, sqlOldestUntimed(dialect, buckets)))
  if (found('timed') > 0) oldest.push(await oldestDue(store, sqlOldestTimed(dialect)))
  const relays = await readRelays(store)
  const sum = (name: keyof RelayRates) => relays.reduce((total, { rates }) => total + rates[name], 0)
  return {
    backlog: Math.min(found('backlog'), countLimit),
    oldestDueAgeMs: Math.max(0, -Math.min(...oldest)),
    delayed: Math.min(found('delayed'), countLimit),
    blockedKeys: Math.min(found('blocked'), keyLimit),
    deadLetters: found('letters'),
    rates: { published: sum('published'), retried: sum('retried'), deadLettered: sum('deadLettered') },
    relays,
  }
}

type Figure = 'backlog' | 'haveTime' | 'delayed' | 'blocked' | 'letters' | 'oldest' | 'timed'

async function oldestDue(store: OutboxStore, sql: string): Promise<number> {
  const [row] = await store.run<{ oldest: number | null }>(sql)
  return row?.oldest ?? 0
}

/** Reads the relays that live, the oldest first, with what they told last. */
export async function readRelays(store: OutboxStore): Promise<RelayStats[]> {
  const rows = await store.run<Pick<RelayStats, 'id' | 'name' | 'publisher'> & { buckets: number | string; sign: string | null }>(
    `select r.id, r.name, r.publisher, cast(r.rates as text) as sign,
      (select count(*) from outbox_leases l where l.owner = r.id) as buckets
    from outbox_relays r where r.expires_at >= ${sqlNow(store.dialect)} order by r.started_at, r.id`,
  )
  return rows.map(({ buckets, sign, ...relay }) => ({ ...relay, buckets: Number(buckets), ...readSign(sign) }))
}
