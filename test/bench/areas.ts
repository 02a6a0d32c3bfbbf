/** One way to do the work that is measured. */
export interface Contestant {
  readonly name: string
  readonly program: string
  readonly args: (context: BenchContext) => readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

/** A table of `docs/performance.md`. */
export interface Table {
  readonly title: string
  /** The first contestant is the yardstick. */
  readonly contestants: readonly Contestant[]
}

/** What one run of one contestant gets. */
export interface BenchContext {
  readonly databaseUrl: string
  readonly redisUrl: string
  readonly stream: string
}

const relayEvents = 50_000

function relay(name: string, file: string, env: Readonly<Record<string, string>> = {}, batch = 500): Contestant {
  const args = ({ databaseUrl, redisUrl, stream }: BenchContext) => [databaseUrl, redisUrl, stream, `${relayEvents}`, `${batch}`]
  return { name, program: file, args, env }
}

function unit(name: string, contestant: string, concurrency: number): Contestant {
  const units = concurrency === 1 ? 2000 : 8000
  const args = ({ databaseUrl }: BenchContext) => [contestant, databaseUrl, `${units}`, `${concurrency}`]
  return { name, program: 'unit/unit-of-work.ts', args }
}

const unitTable = (concurrency: number): Table => ({
  title: `Unit of work: one AIRScore and one DomainEvent in one transaction, concurrency ${concurrency}`,
  contestants: [
    unit('raw pg: BEGIN, two prepared inserts, COMMIT', 'raw', concurrency),
    unit('data.unitOfWork with record()', 'ours', concurrency),
    unit('MikroORM: fork, transactional, two entities', 'mikro-orm', concurrency),
  ],
})

/** The areas that `npm run bench -- <area>` knows. */
export const areas: Readonly<Record<string, readonly Table[]>> = {
  relay: [
    {
      title: `Relay: drain ${relayEvents.toLocaleString('en')} events of 300 bytes to Redis Streams, one relay, batch 500`,
      contestants: [
        relay('raw SQL: claim by SKIP LOCKED, XADD pipeline, mark', 'relay/raw-claim.ts'),
        relay('raw SQL: owner reads plainly, marks by UPDATE, overlapped', 'relay/raw-owner.ts'),
        relay('this relay, retention keep', 'relay/ours.ts'),
        relay('this relay, retention delete', 'relay/ours.ts', { RETENTION: 'delete' }),
        relay('MikroORM: find with SKIP LOCKED, change, flush; batch 1000', 'relay/mikro-orm.ts', {}, 1000),
        relay('graphile-worker, local queue', 'peers/graphile-worker.mjs'),
        relay('pg-boss, fetch and complete in batches', 'peers/pg-boss.mjs'),
      ],
    },
  ],
  unit: [unitTable(1), unitTable(16)],
}
