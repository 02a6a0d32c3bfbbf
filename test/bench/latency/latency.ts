import { fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { createDataAccess } from '@innovateai/data-access'
import { defineEvent } from '@innovateai/data-access/outbox'
import { redisWake } from '@innovateai/data-access/outbox/redis-wake'
import pg from 'pg'
import * as v from 'valibot'

// The way of an event to the publisher: from the acknowledgement of its commit, and from before its transaction began. Arguments: raw,
// process or redis; database; Redis; channel.
const [how = '', databaseUrl = '', redisUrl = '', channel = ''] = process.argv.slice(2)
/** Those of the warm-up come as fast as they go: a service has run for a while when somebody waits for it. */
const [warmUp, events, everyMs] = [2000, 500, 20]
const Ticked = defineEvent({ type: 'Ticked', aggregate: 'Clock', payload: v.object({ n: v.number() }) })
const clock = { name: 'clock', entities: [], events: [Ticked] }
const wake = how === 'redis' ? { wake: redisWake({ url: redisUrl, channel }) } : {}
const now = () => performance.timeOrigin + performance.now()

const begun = new Map<number, number>()
const committed = new Map<number, number>()
const heard = new Map<number, number>()
if (process.send !== undefined) await relayForParent()
else if (how === 'raw') await raw()
else await ours()

async function ours(): Promise<void> {
  const data = await createDataAccess({ modules: [clock], database: { url: databaseUrl }, ...wake })
  await data.migrate()
  if (how === 'redis') {
    const child = fork(fileURLToPath(import.meta.url), process.argv.slice(2))
    child.on('message', (message: { n: number; at: number }) => {
      if (typeof message === 'object') heard.set(message.n, message.at)
    })
    await once(child, 'message')
    await tick((n) => store(data, n))
    child.send('stop')
    await once(child, 'exit')
  } else {
    const relay = data.outbox.relay({ publisher: ({ payload }) => void heard.set((payload as { n: number }).n, now()) })
    await relay.start()
    await tick((n) => store(data, n))
  }
  await data.close()
  report()
}

async function store(data: Awaited<ReturnType<typeof createDataAccess>>, n: number): Promise<void> {
  begun.set(n, now())
  await data.unitOfWork(async ({ record, afterCommit }) => {
    record(Ticked, `${n % 10}`, { n })
    afterCommit(() => void committed.set(n, now()))
  })
}

async function relayForParent(): Promise<void> {
  const data = await createDataAccess({ modules: [clock], database: { url: databaseUrl }, ...wake })
  const relay = data.outbox.relay({
    publisher: ({ payload }) => void process.send?.({ n: (payload as { n: number }).n, at: now() }),
  })
  await relay.start()
  process.send?.('ready')
  await once(process, 'message')
  await data.close()
  process.disconnect()
}

/** The least that a wake in the process can cost: a prepared read, and a prepared mark that nobody waits for. */
async function raw(): Promise<void> {
  const data = await createDataAccess({ database: { url: databaseUrl } })
  await data.migrate()
  await data.close()
  const [writer, reader] = [new pg.Client({ connectionString: databaseUrl }), new pg.Client({ connectionString: databaseUrl })]
  await Promise.all([writer.connect(), reader.connect()])
  let marking: Promise<unknown> = Promise.resolve()
  const relay = async () => {
    await marking
    const { rows } = await reader.query({
      name: 'fetch',
      text: `select id, payload::text as payload from domain_events where status = 'pending' order by sequence limit 500`,
    })
    for (const { payload } of rows) heard.set(JSON.parse(payload).n, now())
    marking = reader.query({
      name: 'mark',
      text: `update domain_events set status = 'published', published_at = now() where id = any($1)`,
      values: [rows.map(({ id }) => id)],
    })
  }
  let relaying: Promise<void> = Promise.resolve()
  await tick(async (n) => {
    begun.set(n, now())
    await writer.query('begin')
    await writer.query({
      name: 'event',
      text: `insert into domain_events (id, event_type, aggregate_type, aggregate_id, payload, headers, ordering_key, bucket, created_at,
        updated_at, sequence) values (gen_random_uuid(), 'Ticked', 'Clock', $1, $2, '{}', $3, 1, now(), now(), nextval('domain_events_sequence'))`,
      values: [`${n % 10}`, JSON.stringify({ n }), `Clock:${n % 10}`],
    })
    await writer.query('commit')
    committed.set(n, now())
    relaying = relaying.then(relay)
  })
  await relaying
  await marking
  await Promise.all([writer.end(), reader.end()])
  report()
}

async function tick(write: (n: number) => Promise<void>): Promise<void> {
  const heardOf = async (all: number) => {
    for (let waits = 0; heard.size < all && waits < 100; waits++) await delay(100)
  }
  for (let n = 0; n < warmUp; n++) await write(n)
  await heardOf(warmUp)
  for (let n = warmUp; n < warmUp + events; n++) {
    const next = delay(everyMs)
    await write(n)
    await next
  }
  await heardOf(warmUp + events)
}

function report(): void {
  const quantiles = (from: ReadonlyMap<number, number>) => {
    const times = [...from]
      .filter(([n]) => n >= warmUp)
      .map(([n, at]) => (heard.get(n) ?? Number.NaN) - at)
      .sort((one, other) => one - other)
    if (times.length !== events || times.some(Number.isNaN)) throw new Error(`heard ${heard.size} of ${warmUp + events} events`)
    return [0.5, 0.99].map((share) => times[Math.floor(times.length * share)] as number) as [number, number]
  }
  const [p50, p99] = quantiles(committed)
  const [wholeP50, wholeP99] = quantiles(begun)
  console.log(JSON.stringify({ p50, p99, wholeP50, wholeP99 }))
}
