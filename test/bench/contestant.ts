import { createDataAccess } from '@innovateai/data-access'
import { Redis } from 'ioredis'
import pg from 'pg'

/** What every contestant of the relay bench gets. */
export interface RelayTask {
  readonly databaseUrl: string
  readonly redisUrl: string
  readonly stream: string
  readonly events: number
  readonly batch: number
}

/** A contestant: prepares, then hands over what is timed. */
export type Prepare = (task: RelayTask) => Promise<{ drain(): Promise<void>; close(): Promise<void> }>

/** Runs one contestant in this process, checks that every event arrived, and prints its figures as JSON. */
export async function compete(prepare: Prepare): Promise<void> {
  const [databaseUrl = '', redisUrl = '', stream = '', events = '0', batch = '500'] = process.argv.slice(2)
  const task = { databaseUrl, redisUrl, stream, events: Number(events), batch: Number(batch) }
  const { drain, close } = await prepare(task)
  const cpu = process.cpuUsage()
  const started = performance.now()
  await drain()
  const ms = performance.now() - started
  const { user, system } = process.cpuUsage(cpu)
  const redis = new Redis(redisUrl)
  const arrived = await redis.xlen(stream)
  await redis.del(stream)
  await redis.quit()
  await close()
  if (arrived < task.events) throw new Error(`only ${arrived} of ${task.events} events arrived`)
  console.log(JSON.stringify({ perSecond: (task.events / ms) * 1000, cpuMsPerOperation: (user + system) / 1000 / task.events }))
}

/** Stores pending events of about 300 bytes with 1,000 keys, as `record()` does, and lets PostgreSQL look at them. */
export async function fillOutbox(databaseUrl: string, events: number): Promise<void> {
  const data = await createDataAccess({ database: { url: databaseUrl } })
  await data.migrate()
  await data.close()
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  await client.query(
    `insert into domain_events (id, event_type, aggregate_type, aggregate_id, payload, headers, ordering_key, bucket, created_at,
      updated_at, sequence)
    select gen_random_uuid(), 'Benched', 'Thing', n % 1000, json_build_object('n', n, 'text', repeat('x', 280)), '{}',
      'Thing:' || n % 1000, (n % 1000) % 64, now(), now(), nextval('domain_events_sequence')
    from generate_series(1, $1::int) as n`,
    [events],
  )
  await client.query('vacuum analyze domain_events')
  await client.end()
}

/** Sends rows to a stream in one pipeline and reads every answer. */
export async function addAll(redis: Redis, stream: string, rows: readonly { id: string; payload: string }[]): Promise<void> {
  const pipeline = redis.pipeline()
  for (const { id, payload } of rows) pipeline.xadd(stream, '*', 'id', id, 'payload', payload)
  for (const [error] of (await pipeline.exec()) ?? []) if (error) throw error
}
