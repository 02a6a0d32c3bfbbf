import { fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { createDataAccess } from '@innovateai/data-access'
import { defineEvent, type OutboxEvent, type Publisher } from '@innovateai/data-access/outbox'
import { redisWake } from '@innovateai/data-access/outbox/redis-wake'
import { redisPubSub } from '@innovateai/data-access/publishers/redis-pubsub'
import { Redis } from 'ioredis'
import pg from 'pg'
import * as v from 'valibot'

// The way of an event to a subscriber on Redis Pub/Sub, a process of its own: from the acknowledgement of its commit, and from before its
// transaction began; and to the moment at which the publisher got it. Arguments: raw, process or redis; database; Redis; channel; for a
// child, what it is.
const [how = '', databaseUrl = '', redisUrl = '', channel = '', part = ''] = process.argv.slice(2)
/** Those of the warm-up come as fast as they go: a service has run for a while when somebody waits for it. */
const [warmUp, events, everyMs] = [2000, 500, 20]
const Ticked = defineEvent({ type: 'Ticked', aggregate: 'Clock', payload: v.object({ n: v.number() }) })
const clock = { name: 'clock', entities: [], events: [Ticked] }
const wake = how === 'redis' ? { wake: redisWake({ url: redisUrl, channel }) } : {}
const now = () => performance.timeOrigin + performance.now()

const begun = new Map<number, number>()
const committed = new Map<number, number>()
const handed = new Map<number, number>()
const heard = new Map<number, number>()
const topic = `${channel}:ticks`
if (part === 'subscriber') await subscribeForParent()
else if (part === 'relay') await relayForParent()
else if (how === 'raw') await raw()
else await ours()

async function ours(): Promise<void> {
  const subscriber = await child('subscriber')
  const data = await createDataAccess({ modules: [clock], database: { url: databaseUrl }, ...wake })
  await data.migrate()
  if (how === 'redis') {
    const relay = await child('relay')
    await tick((n) => store(data, n))
    await relay.end(handed)
  } else {
    await data.outbox.relay({ publisher: watched() }).start()
    await tick((n) => store(data, n))
  }
  await data.close()
  await subscriber.end(heard)
  report()
}

/** A process of its own that is ready; at its end it tells its moments. */
async function child(part: string): Promise<{ readonly end: (moments: Map<number, number>) => Promise<void> }> {
  const process = fork(fileURLToPath(import.meta.url), [how, databaseUrl, redisUrl, channel, part])
  await once(process, 'message')
  return {
    async end(moments) {
      process.send('stop')
      const [told] = (await once(process, 'message')) as [[number, number][]]
      for (const [n, at] of told) moments.set(n, at)
    },
  }
}

async function subscribeForParent(): Promise<void> {
  const subscriber = new Redis(redisUrl)
  subscriber.on('message', (_channel, message: string) => void heard.set(JSON.parse(message).payload.n, now()))
  await subscriber.subscribe(topic)
  await tellAtEnd(heard)
  subscriber.disconnect()
}

async function tellAtEnd(moments: ReadonlyMap<number, number>, end: () => Promise<void> = async () => undefined): Promise<void> {
  process.send?.('ready')
  await once(process, 'message')
  await end()
  process.send?.([...moments])
  process.disconnect()
}

/** The publisher of the library, and when it got each event. */
function watched(): Publisher {
  const publisher = redisPubSub({ url: redisUrl, channel: topic })
  const publish = publisher.publish.bind(publisher)
  publisher.publish = (events: readonly OutboxEvent[], context) => {
    for (const { payload } of events) handed.set((payload as { n: number }).n, now())
    return publish(events, context)
  }
  return publisher
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
  await data.outbox.relay({ publisher: watched() }).start()
  await tellAtEnd(handed, () => data.close())
}

/** The least that a wake in the process can cost: a prepared read, a command for Redis, and a prepared mark that nobody waits for. */
async function raw(): Promise<void> {
  const data = await createDataAccess({ database: { url: databaseUrl } })
  await data.migrate()
  await data.close()
  const [subscriber, redis] = [await child('subscriber'), new Redis(redisUrl)]
  const [writer, reader] = [new pg.Client({ connectionString: databaseUrl }), new pg.Client({ connectionString: databaseUrl })]
  await Promise.all([writer.connect(), reader.connect()])
  let marking: Promise<unknown> = Promise.resolve()
  const relay = async () => {
    await marking
    const { rows } = await reader.query({
      name: 'fetch',
      text: `select id, payload::text as payload from domain_events where status = 'pending' order by sequence limit 500`,
    })
    const sent = rows.map(({ payload }) => {
      handed.set(JSON.parse(payload).n, now())
      return redis.publish(topic, `{"payload":${payload}}`)
    })
    await Promise.all(sent)
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
  redis.disconnect()
  await subscriber.end(heard)
  report()
}

async function tick(write: (n: number) => Promise<void>): Promise<void> {
  for (let n = 0; n < warmUp; n++) await write(n)
  await delay(5000)
  for (let n = warmUp; n < warmUp + events; n++) {
    const next = delay(everyMs)
    await write(n)
    await next
  }
  await delay(3000)
}

function report(): void {
  const quantiles = (from: ReadonlyMap<number, number>, to: ReadonlyMap<number, number>) => {
    const times = [...from]
      .filter(([n]) => n >= warmUp)
      .map(([n, at]) => (to.get(n) ?? Number.NaN) - at)
      .sort((one, other) => one - other)
    if (times.length !== events || times.some(Number.isNaN)) throw new Error(`heard ${heard.size} of ${warmUp + events} events`)
    return [0.5, 0.99].map((share) => times[Math.floor(times.length * share)] as number) as [number, number]
  }
  const [p50, p99] = quantiles(committed, heard)
  const [handedP50] = quantiles(committed, handed)
  const [wholeP50] = quantiles(begun, heard)
  console.log(JSON.stringify({ p50, p99, handedP50, wholeP50 }))
}
