import { hitTables, manyAndMissTables } from './cache/tables.ts'
import { type BenchContext, type Column, type Contestant, type Table, type Target, throughput } from './table.ts'

const relayEvents = 50_000

interface RelayRun {
  readonly env?: Readonly<Record<string, string>>
  readonly batch?: number
  readonly events?: number
  readonly targets?: readonly Target[]
  readonly shape?: string
}

function relay(name: string, file: string, { env = {}, batch = 500, events = relayEvents, ...aims }: RelayRun = {}): Contestant {
  const args = ({ databaseUrl, redisUrl, stream }: BenchContext) => [databaseUrl, redisUrl, stream, `${events}`, `${batch}`]
  return { name, program: file, args, env, ...aims }
}

const ratio = (atLeast: number): readonly Target[] => [{ column: 'ratio', atLeast }]

const cpuOfShape: Column = { heading: 'CPU of its raw shape', figure: 'cpuMsPerOperation', show: 'shape ratio' }

/** A relay of ours, and the raw statements that do the same without its promises. */
function relayWithShape(
  name: string,
  env: Readonly<Record<string, string>>,
  raw: string,
  atLeast: number,
): readonly Contestant[] {
  return [
    relay(raw, 'relay/raw-owner.ts', { env }),
    relay(name, 'relay/ours.ts', { env, shape: raw, targets: [...ratio(atLeast), { column: cpuOfShape.heading, atMost: 1.2 }] }),
  ]
}

const relayTables: readonly Table[] = [
  {
    title: `Relay: drain ${relayEvents.toLocaleString('en')} events of 300 bytes to Redis Streams, one relay, batch 500`,
    columns: [...throughput, cpuOfShape],
    contestants: [
      relay('raw SQL: claim by SKIP LOCKED, XADD pipeline, mark', 'relay/raw-claim.ts'),
      ...relayWithShape(
        'this relay, retention keep',
        {},
        'raw SQL: owner reads plainly, marks by UPDATE, XADD pipeline, overlapped',
        1.7,
      ),
      ...relayWithShape(
        'this relay, retention delete',
        { RETENTION: 'delete' },
        'raw SQL: owner reads plainly, DELETEs, XADD pipeline, overlapped',
        2.4,
      ),
      ...relayWithShape(
        'this relay, retention delete, `redisStreams()`',
        { RETENTION: 'delete', PUBLISHER: 'script' },
        'raw SQL: owner reads plainly, DELETEs, XADD by one script, overlapped',
        3,
      ),
      relay('MikroORM: find with SKIP LOCKED, change, flush; batch 1000', 'relay/mikro-orm.ts', { batch: 1000 }),
      relay('graphile-worker, local queue', 'peers/graphile-worker.mjs'),
      relay('pg-boss, fetch and complete in batches', 'peers/pg-boss.mjs'),
      relay('pg-transactional-outbox, polling (1,000 events)', 'peers/pg-transactional-outbox.mjs', { events: 1000 }),
    ],
  },
  {
    title: 'Relays side by side: 50,000 events to Redis Streams, from their commit to the last entry',
    contestants: [
      relay('one relay', 'relay/side-by-side.ts', { env: { RELAYS: '1' } }),
      relay('two relays, each a process', 'relay/side-by-side.ts', { env: { RELAYS: '2' }, targets: ratio(1.3) }),
      relay('raw SQL: one owner reads plainly, marks by UPDATE, overlapped', 'relay/side-by-side.ts', {
        env: { RELAYS: '1', SIDE: 'raw' },
      }),
      relay('raw SQL: two such owners, each a process', 'relay/side-by-side.ts', { env: { RELAYS: '2', SIDE: 'raw' } }),
    ],
  },
  {
    title: 'Relay on SQLite: drain 20,000 events to a function, a file in WAL mode, batch 500',
    contestants: [
      relay('the same statements on better-sqlite3', 'relay/sqlite.ts', { env: { SIDE: 'raw' }, events: 20_000 }),
      relay('this relay', 'relay/sqlite.ts', { env: { SIDE: 'ours' }, events: 20_000, targets: ratio(0.8) }),
    ],
  },
]

function unit(name: string, contestant: string, concurrency: number, targets?: readonly Target[]): Contestant {
  const units = concurrency === 1 ? 2000 : 8000
  const args = ({ databaseUrl }: BenchContext) => [contestant, databaseUrl, `${units}`, `${concurrency}`]
  const program = contestant === 'kysely' || contestant === 'drizzle' ? 'peers/unit-of-work.mjs' : 'unit/unit-of-work.ts'
  return { name, program, args, ...(targets === undefined ? {} : { targets }) }
}

const unitTable = (concurrency: number): Table => ({
  title: `Unit of work: one AIRScore and one DomainEvent in one transaction, concurrency ${concurrency}`,
  contestants: [
    unit('raw pg: BEGIN, two prepared inserts, COMMIT', 'raw', concurrency),
    unit('raw pg: both inserts in one statement', 'single', concurrency),
    unit('data.unitOfWork with record()', 'ours', concurrency, ratio(0.46)),
    unit('data.unitOfWork, the row alone', 'row', concurrency),
    unit('data.unitOfWork, the event alone', 'event', concurrency),
    unit('MikroORM: fork, transactional, two entities', 'mikro-orm', concurrency),
    unit('Kysely', 'kysely', concurrency),
    unit('Drizzle', 'drizzle', concurrency),
  ],
})

const milliseconds: readonly Column[] = [
  { heading: 'ms', figure: 'ms', show: 'median', digits: 1 },
  { heading: 'least–most', figure: 'ms', show: 'range', digits: 1 },
]
const bytes: readonly Column[] = [
  { heading: 'bytes', figure: 'bytes', show: 'median' },
  { heading: 'least–most', figure: 'bytes', show: 'range' },
]

function outbox(name: string, what: string, target: Target): Contestant {
  return { name, program: 'outbox/figures.ts', args: ({ databaseUrl }) => [what, databaseUrl], targets: [target] }
}

const outboxTables: readonly Table[] = [
  {
    title: 'Outbox: how long its reads take',
    columns: milliseconds,
    contestants: [
      outbox('fetch of 500 events, 100,000 pending', 'fetch', { column: 'ms', atMost: 10 }),
      outbox('the same, with 40,000 events of a blocked key before them', 'blocked', { column: 'ms', atMost: 10 }),
      outbox('`data.outbox.stats()`, 100,000 pending', 'stats', { column: 'ms', atMost: 50 }),
      outbox('the same, 40,000 of them behind a key that a dead letter holds', 'stats-held', { column: 'ms', atMost: 50 }),
      outbox('the same, 99,000 of them behind 1,000 events that wait for their next try', 'stats-behind', {
        column: 'ms',
        atMost: 50,
      }),
      outbox('the same, each of a key of its own that waits for its next try', 'stats-failed', { column: 'ms', atMost: 50 }),
    ],
  },
  {
    title: 'Outbox: write-ahead log per event, after its insert',
    columns: bytes,
    contestants: [
      outbox('retention keep', 'wal-keep', { column: 'bytes', atMost: 650 }),
      outbox('retention delete', 'wal-delete', { column: 'bytes', atMost: 100 }),
    ],
  },
]

const latencyTable: Table = {
  title: 'From a commit to a subscriber on Redis Pub/Sub, 50 events a second',
  columns: [
    { heading: 'p50 ms', figure: 'p50', show: 'median', digits: 2 },
    { heading: 'p99 ms', figure: 'p99', show: 'median', digits: 1 },
    { heading: 'p50 ratio', figure: 'p50', show: 'ratio' },
    { heading: 'p99 ratio', figure: 'p99', show: 'ratio' },
    { heading: 'to the publisher: p50 ms', figure: 'handedP50', show: 'median', digits: 2 },
    { heading: 'its ratio', figure: 'handedP50', show: 'ratio' },
    { heading: 'from before the transaction: p50 ms', figure: 'wholeP50', show: 'median', digits: 2 },
    { heading: 'its ratio ', figure: 'wholeP50', show: 'ratio' },
  ],
  contestants: [
    { name: 'raw SQL, woken in the process after the commit', program: 'latency/latency.ts', args: wake('raw') },
    {
      name: 'this relay, in the process',
      program: 'latency/latency.ts',
      args: wake('process'),
      targets: latencies(2, 3),
    },
    {
      name: 'this relay, in another process, woken by `redisWake()`',
      program: 'latency/latency.ts',
      args: wake('redis'),
      targets: latencies(3, 4),
    },
  ],
}

function latencies(p50: number, p99: number): readonly Target[] {
  return [
    { column: 'p50 ratio', atMost: p50 },
    { column: 'p99 ratio', atMost: p99 },
  ]
}

function wake(how: string) {
  return ({ databaseUrl, redisUrl, stream }: BenchContext) => [how, databaseUrl, redisUrl, stream]
}

/** The areas that `npm run bench -- <area>` knows. */
export const areas: Readonly<Record<string, readonly Table[]>> = {
  relay: relayTables,
  unit: [unitTable(1), unitTable(16)],
  outbox: outboxTables,
  latency: [latencyTable],
  cache: hitTables,
  'cache-many': manyAndMissTables,
}
