import { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Publisher } from '../../../src/outbox/publishing/publisher.ts'
import { type RedisStreamsOptions, redisStreams } from '../../../src/publishers/redis-streams/redis-streams.ts'
import { readStreamEntry, toStreamEntry } from '../../../src/publishers/redis-streams/stream-entry.ts'
import { contractEvent } from '../../../src/testing/publisher-contract.ts'
import { dialects, openTestDatabase } from '../../support/databases.ts'
import { openOutbox } from '../../support/outbox-bench.ts'
import { openTestRedis, type TestRedis } from '../../support/redis.ts'

let ground: TestRedis
let redis: Redis
let stream: string
const publishers: Publisher[] = []

beforeEach(async () => {
  ground = await openTestRedis()
  redis = new Redis(ground.url)
  // Our keys must begin with the prefix, also the one of the remembered ids: a tag behind it keeps them together.
  stream = `${ground.prefix}{events}`
})
afterEach(async () => {
  for (const publisher of publishers.splice(0)) await publisher.close?.()
  await redis.quit()
  await ground.close()
})

function open(options: RedisStreamsOptions = {}): Publisher {
  const publisher = redisStreams({ url: ground.url, stream, ...options })
  publishers.push(publisher)
  return publisher
}

const context = { signal: new AbortController().signal }
const events = (count: number) => Array.from({ length: count }, (_, n) => contractEvent(`k${n}`, n))
const statuses = async (publisher: Publisher, list: ReturnType<typeof events>) =>
  (await publisher.publish(list, context)).map(({ status }) => status)

/** The payloads of a stream, in its order. */
async function payloads(name = stream): Promise<unknown[]> {
  return (await redis.xrange(name, '-', '+')).map(([, fields]) => JSON.parse(fields[fields.indexOf('payload') + 1] as string))
}

describe.each(dialects)('a relay to Redis Streams on %s', (dialect) => {
  test('two consumers of one group read every event once, in order, also when a batch was published twice', async () => {
    const database = await openTestDatabase(dialect)
    const bench = await openOutbox(database.url)
    try {
      await redis.xgroup('CREATE', stream, 'scores', '0', 'MKSTREAM')
      await bench.record('a', [1, 2, 3, 4, 5, 6])
      const publisher = open()
      await bench.outbox.relay({ publisher }).drain()
      // As after a crash between publish and mark: the rows are pending again.
      await bench.sql(
        "update domain_events set status = 'pending', published_at = null where sequence > (select min(sequence) + 2 from domain_events)",
      )
      await bench.record('a', [7])
      expect((await bench.outbox.relay({ publisher }).drain()).published).toBe(4)
      const read: unknown[] = []
      for (const consumer of ['one', 'two', 'one']) {
        const answer = await redis.xreadgroup('GROUP', 'scores', consumer, 'COUNT', 3, 'STREAMS', stream, '>')
        const [[, entries]] = answer as [[string, [string, string[]][]]]
        for (const [id, fields] of entries) {
          read.push(JSON.parse(fields[fields.indexOf('payload') + 1] as string))
          await redis.xack(stream, 'scores', id)
        }
      }
      expect(read).toEqual([1, 2, 3, 4, 5, 6, 7])
      expect((await redis.xpending(stream, 'scores'))[0]).toBe(0)
    } finally {
      await bench.close()
      await database.close()
    }
  })
})

test('an event that comes again is published and stands in the stream once, also from another publisher', async () => {
  const [one, two, three] = events(3)
  expect(await statuses(open(), [one, two] as never)).toEqual(['published', 'published'])
  expect(await statuses(open(), [two, three, one] as never)).toEqual(['published', 'published', 'published'])
  expect(await payloads()).toEqual([0, 1, 2])
})

test('a wave of hundreds is one command, and all else happens inside its script', async () => {
  const publisher = open()
  const sent: string[] = []
  const monitor = await redis.monitor()
  monitor.on('monitor', (_, [command, ...args]: string[], source: string) => {
    if (source !== 'lua' && args.some((arg) => arg.startsWith(ground.prefix))) sent.push(String(command).toLowerCase())
  })
  await publisher.publish(events(1), context)
  await publisher.publish(events(500), context)
  expect(await redis.xlen(stream)).toBe(501)
  // The monitor is told in the order of the commands.
  await expect.poll(() => sent.at(-1), { timeout: 10_000 }).toBe('xlen')
  monitor.disconnect()
  // The first one may have to bring the script.
  expect(sent.slice(-2)).toEqual(['evalsha', 'xlen'])
  expect(sent.slice(0, -2).join(' ')).toMatch(/^(evalsha eval|evalsha|eval)$/)
})

test('of thousands at once those that come again are found wherever they stand', async () => {
  const list = events(2500)
  const again = [0, 999, 1000, 1001, 2499].map((place) => list[place]) as typeof list
  await open().publish(again, context)
  expect(new Set(await statuses(open(), list))).toEqual(new Set(['published']))
  const fresh = [...list.keys()].filter((n) => ![0, 999, 1000, 1001, 2499].includes(n))
  expect(await payloads()).toEqual([0, 999, 1000, 1001, 2499, ...fresh])
  expect(await redis.zcard(`${stream}:published`)).toBe(2500)
})

test('an entry holds every field as it was, whatever text it is', async () => {
  const awkward = String.raw`"\u0000" \ud800 {}[]`.concat('\u0000\t\n\u2028\u{10ffff} żółć 🦉')
  const event = {
    ...contractEvent('k', 0),
    type: `type ${awkward}`,
    aggregateId: awkward,
    headers: { [awkward]: awkward, lone: '\ud800' },
    payloadJson: JSON.stringify({ [awkward]: [awkward, 12345678901234567890n.toString(), null] }, null, 2),
  }
  await open().publish([contractEvent('k', 1), event], context)
  const [, entry] = await redis.xrange(stream, '-', '+')
  expect(entry?.[1]).toEqual(Object.entries(toStreamEntry(event)).flat())
  const { id, type, aggregateType, aggregateId, headers, schemaVersion } = event
  expect(readStreamEntry(entry?.[1] ?? [])).toEqual({
    ...{ id, type, aggregateType, aggregateId, headers, schemaVersion, payload: JSON.parse(event.payloadJson) },
    ...{ sequence: String(event.sequence), createdAt: event.createdAt.toISOString() },
  })
})

test('beyond the window a repetition is appended again, and the remembered ids are bounded', async () => {
  const publisher = open({ dedupe: { maxIds: 2, windowMs: 60_000 } })
  const [one, two, three] = events(3)
  for (const event of [one, two, three, three, one]) await publisher.publish([event as never], context)
  expect(await payloads()).toEqual([0, 1, 2, 0])
  expect(await redis.zcard(`${stream}:published`)).toBe(2)
  const life = await redis.pttl(`${stream}:published`)
  expect(life).toBeGreaterThan(0)
  expect(life).toBeLessThanOrEqual(60_000)
  // As if their time were over.
  for (const id of await redis.zrange(`${stream}:published`, '0', '-1')) await redis.zadd(`${stream}:published`, '1', id)
  await publisher.publish([one as never], context)
  expect(await payloads()).toEqual([0, 1, 2, 0, 0])
})

test.each([
  ['as the clock goes', 0],
  ['after the clock was set back by an hour', 3_600_000_000],
])('what is forgotten first is what was published first, %s', async (_, aheadMicros) => {
  const remembered = `${stream}:published`
  const [seconds, micros] = await redis.time()
  if (aheadMicros > 0) await redis.zadd(remembered, String(Number(seconds) * 1_000_000 + Number(micros) + aheadMicros), 'before')
  const publisher = open({ dedupe: { maxIds: 50 } })
  const list = events(120)
  // Within one script, and over many that share a millisecond.
  await publisher.publish(list.slice(0, 80), context)
  for (const event of list.slice(80)) await publisher.publish([event], context)
  const ids = list.map(({ id }) => id)
  expect(await redis.zrange(remembered, '0', '-1')).toEqual(ids.slice(-50))
  await publisher.publish([...list.slice(-50), ...list.slice(0, 1)], context)
  expect(await payloads()).toEqual([...list.keys(), 0])
  expect(await redis.zrange(remembered, '0', '-1')).toEqual([...ids.slice(-49), ids[0]])
})

test('a stream that Redis refuses fails for its events alone, and repairs', async () => {
  const broken = `${ground.prefix}broken{events}`
  await redis.set(broken, 'no stream')
  const publisher = open({ stream: ({ payload }) => (payload === 1 ? broken : stream) })
  const list = events(3)
  const outcomes = await publisher.publish(list, context)
  expect(outcomes).toEqual([
    { status: 'published' },
    {
      status: 'retryable',
      error: expect.objectContaining({ code: 'REDIS_COMMAND_FAILED', message: expect.stringContaining('WRONGTYPE') }),
    },
    { status: 'published' },
  ])
  await redis.del(broken)
  expect(await statuses(publisher, list)).toEqual(['published', 'published', 'published'])
  expect(await payloads()).toEqual([0, 2])
  expect(await payloads(broken)).toEqual([1])
})

test('ids that Redis cannot remember are an error too, and nothing is appended', async () => {
  await redis.set(`${stream}:published`, 'no set')
  expect(await statuses(open(), events(2))).toEqual(['retryable', 'retryable'])
  expect(await payloads()).toEqual([])
})

test('a function that names no stream, or throws, fails for its event alone', async () => {
  const publisher = open({
    stream: ({ payload }) => {
      if (payload === 0) throw new Error('no stream for this one')
      return payload === 1 ? '' : stream
    },
  })
  expect(await statuses(publisher, events(3))).toEqual(['retryable', 'retryable', 'published'])
})

test('a name beside which a cluster could not keep the ids is refused, at the door or for its event alone', async () => {
  expect(() => redisStreams({ url: ground.url, stream: 'orders:}' })).toThrow(/stream is "orders:}"; give a name without "}"/)
  const publisher = open({ stream: ({ payload }) => (payload === 0 ? `${ground.prefix}a{}b` : stream) })
  const outcomes = await publisher.publish(events(2), context)
  expect(outcomes).toEqual([
    { status: 'retryable', error: expect.objectContaining({ code: 'OPTION_INVALID' }) },
    { status: 'published' },
  ])
})

test('a stream keeps roughly its newest entries', async () => {
  const publisher = open({ maxLength: 100 })
  for (let round = 0; round < 4; round++) await publisher.publish(events(200), context)
  const length = await redis.xlen(stream)
  expect(length).toBeGreaterThanOrEqual(100)
  expect(length).toBeLessThan(400)
})

test('a script that Redis has forgotten is sent again', async () => {
  const publisher = open()
  await publisher.publish(events(1), context)
  await redis.script('FLUSH')
  expect(await statuses(publisher, events(1))).toEqual(['published'])
})

test('options that make no sense are refused', () => {
  expect(() => redisStreams({ url: ground.url, maxLength: 0 })).toThrow(/maxLength is 0/)
  expect(() => redisStreams({ url: ground.url, dedupe: { windowMs: 0.5 } })).toThrow(/windowMs is 0.5/)
  expect(() => redisStreams({ url: ground.url, dedupe: { maxIds: Number.NaN } })).toThrow(/maxIds is NaN/)
})
