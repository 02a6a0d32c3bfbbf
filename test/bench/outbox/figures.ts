import pg from 'pg'
import { createDataAccess } from '../../../src/data-access.ts'
import { momentOf, monotonicClock } from '../../../src/kernel/clock.ts'
import { FetchPlan } from '../../../src/outbox/relay/fetch-plan.ts'
import { EventStore } from '../../../src/outbox/store/event-store.ts'
import { OutboxStore } from '../../../src/outbox/store/outbox-store.ts'
import { fillOutbox } from '../contestant.ts'

// One figure of the outbox. Arguments: which one, database. The source is used, since the store is no public part.
const [what = '', databaseUrl = ''] = process.argv.slice(2)
const backlog = 100_000
/** Keys of events, by their number `n`, as SQL. */
const [blockedKey, ownKey] = [`'Thing:blocked'`, `'Thing:' || n`]
const repetitions = 31

const filled = {
  fetch: backlog,
  stats: backlog,
  blocked: 10,
  'stats-held': backlog - 40_000,
  'wal-keep': 20_000,
  'wal-delete': 20_000,
}
await fillOutbox(databaseUrl, filled[what as keyof typeof filled] ?? 0)
const data = await createDataAccess({ database: { url: databaseUrl } })
const measures: Readonly<Record<string, () => Promise<Record<string, number>>>> = {
  fetch: async () => ({ ms: await medianMs(fetchBy(new FetchPlan(500))) }),
  blocked: async () => {
    await insert(40_000, { key: blockedKey })
    await fillOutbox(databaseUrl, backlog)
    const store = new EventStore(new OutboxStore(data.orm))
    const plan = new FetchPlan(500)
    plan.own(epochs)
    const shares = [{ bucket: 1, after: 0n }]
    const rows = await store.fetch({ shares, quota: 2000, limit: 2000, exceptKeys: [], exceptSequences: [] })
    plan.parkHead(
      rows.find(({ orderingKey }) => orderingKey === 'Thing:blocked') ?? fail(),
      Number.POSITIVE_INFINITY,
      momentOf(monotonicClock),
    )
    return { ms: await medianMs(fetchBy(plan)) }
  },
  stats: medianOfStats,
  'stats-held': async () => {
    await insert(40_000, { key: blockedKey })
    await query(`insert into outbox_dead_letters
      select gen_random_uuid(), 'Benched', 'Thing', 'b', '{}', '{}', 0, ${blockedKey}, 1, 1, now(), 1, 'permanent', 'no', '[]', true, now()`)
    return medianOfStats()
  },
  'stats-behind': async () => {
    await insert(1000, { key: ownKey, failed: true })
    await insert(backlog - 1000, { key: `'Thing:' || n % 1000 + 1` })
    return medianOfStats()
  },
  'stats-failed': async () => {
    await insert(backlog, { key: ownKey, failed: true })
    return medianOfStats()
  },
  'wal-keep': () => wal('keep'),
  'wal-delete': () => wal('delete'),
}
const epochs = new Map(Array.from({ length: 64 }, (_, bucket) => [bucket, 1]))
console.log(JSON.stringify(await (measures[what] ?? fail)()))
await data.close()

function fetchBy(plan: FetchPlan): () => Promise<void> {
  const store = new EventStore(new OutboxStore(data.orm))
  plan.own(epochs)
  return async () => {
    const request = plan.request([], performance.now())
    const { ready } = plan.take(await store.fetch(request), request, momentOf(monotonicClock), 1n << 60n)
    if (ready.length < 400) throw new Error(`a fetch brought ${ready.length} events`)
  }
}

/** Stores pending events with these keys; failed ones wait an hour for their next try. */
async function insert(count: number, { key, failed = false }: { key: string; failed?: boolean }): Promise<void> {
  const bucket = key === blockedKey ? '1' : `abs(hashtext(${key}) % 64)`
  await query(`insert into domain_events (id, event_type, aggregate_type, aggregate_id, payload, headers, ordering_key, bucket, created_at,
      updated_at, sequence, attempts, available_at)
    select gen_random_uuid(), 'Benched', 'Thing', 'b', '{}', '{}', ${key}, ${bucket}, now(), now(), nextval('domain_events_sequence'),
      ${failed ? `1, now() + interval '1 hour'` : '0, null'} from generate_series(1, ${count}) as n`)
}

async function medianOfStats(): Promise<Record<string, number>> {
  await query('vacuum analyze domain_events')
  return { ms: await medianMs(async () => void (await data.outbox.stats())) }
}

async function wal(retention: 'keep' | 'delete'): Promise<Record<string, number>> {
  const [before] = await query<{ at: string }>('select pg_current_wal_lsn() as at')
  const { published } = await data.outbox.relay({ publisher: () => {}, batchSize: 500, retention }).drain()
  const [after] = await query<{ bytes: string }>(`select pg_current_wal_lsn() - '${before?.at}'::pg_lsn as bytes`)
  return { bytes: Number(after?.bytes) / published }
}

async function medianMs(run: () => Promise<void>): Promise<number> {
  const times: number[] = []
  for (let n = 0; n < repetitions; n++) {
    const started = performance.now()
    await run()
    times.push(performance.now() - started)
  }
  return times.sort((one, other) => one - other)[Math.floor(repetitions / 2)] as number
}

async function query<Row extends pg.QueryResultRow>(text: string): Promise<Row[]> {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  const { rows } = await client.query<Row>(text)
  await client.end()
  return rows
}

function fail(): never {
  throw new Error(`there is no such figure, or no such event: ${what}`)
}
