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
const repetitions = 31

await fillOutbox(databaseUrl, what.startsWith('wal') ? 20_000 : what === 'blocked' ? 10 : backlog)
const data = await createDataAccess({ database: { url: databaseUrl } })
const measures: Readonly<Record<string, () => Promise<Record<string, number>>>> = {
  fetch: async () => ({ ms: await medianMs(fetchBy(new FetchPlan(500))) }),
  blocked: async () => {
    await query(`insert into domain_events (id, event_type, aggregate_type, aggregate_id, payload, headers, ordering_key, bucket, created_at,
        updated_at, sequence)
      select gen_random_uuid(), 'Benched', 'Thing', 'b', '{}', '{}', 'Thing:blocked', 1, now(), now(), nextval('domain_events_sequence')
      from generate_series(1, 40000)`)
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
  stats: async () => ({ ms: await medianMs(async () => void (await data.outbox.stats())) }),
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
