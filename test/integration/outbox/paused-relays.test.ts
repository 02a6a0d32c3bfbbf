import { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, inject, test, vi } from 'vitest'
import { type OutboxEvent, unavailable } from '../../../src/outbox/publishing/publisher.ts'
import { redisPubSub } from '../../../src/publishers/redis-pubsub/redis-pubsub.ts'
import { redisStreams } from '../../../src/publishers/redis-streams/redis-streams.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../../support/databases.ts'
import { type OutboxUnderTest, openOutbox } from '../../support/outbox-bench.ts'
import { freePort } from '../../support/servers/server-process.ts'

const timing = { pollInterval: { min: 5, max: 50 } }
const slowly = { timeout: 15_000, interval: 50 }

let database: TestDatabase
let bench: OutboxUnderTest
let info: { readonly mock: { readonly calls: unknown[][] } }
const infos = () => info.mock.calls.map(([message]) => message)
const warnings = () => bench.logger.warnings.map(({ message }) => message)

async function open(dialect: (typeof dialects)[number]): Promise<void> {
  database = await openTestDatabase(dialect)
  bench = await openOutbox(database.url)
  info = vi.spyOn(bench.logger, 'info')
}
afterEach(async () => {
  await bench.close()
  await database.close()
})

describe.each(dialects)('a paused relay on %s', (dialect) => {
  beforeEach(() => open(dialect))

  test('says why in its log, its status, the figures and the doctor of every process, until it goes on', async () => {
    const other = await openOutbox(database.url)
    const finding = async () => (await other.outbox.doctor()).find(({ check }) => check === 'paused-relays')
    expect(await finding()).toEqual({ check: 'paused-relays', ok: true, finding: 'No relay lives', remedy: undefined })
    let tries = 0
    let away = true
    const relay = bench.outbox.relay({
      name: 'eu',
      publisher: function hooks() {
        tries++
        if (away) throw unavailable(new Error('connect https://me:geheim@hooks.example refused'))
      },
      ...timing,
    })
    await relay.start()
    expect(relay.status().paused).toBeUndefined()
    expect(await finding()).toMatchObject({ ok: true, finding: 'None of 1 relays is paused' })
    const begun = Date.now()
    await bench.record('a', [1])
    await expect.poll(() => tries, slowly).toBe(3)

    const paused = { cause: 'publisher', since: expect.any(Date), error: 'Error: connect https://me:***@hooks.example refused' }
    expect(relay.status().paused).toEqual(paused)
    expect(Math.abs((relay.status().paused?.since.getTime() ?? 0) - begun)).toBeLessThan(5000)
    // The lease is of 30 s, and a sign of life is due every 10.
    await expect.poll(async () => (await other.outbox.stats()).relays, slowly).toMatchObject([{ name: 'eu', paused }])
    expect((await other.outbox.stats()).relays[0]?.paused).toEqual(relay.status().paused)
    expect(await finding()).toMatchObject({
      ok: false,
      finding: expect.stringMatching(
        /^1 of 1 relays are paused: "eu" \(.*\) waits for its publisher "hooks" since 20.*Z: Error: connect https:\/\/me:\*\*\*@/,
      ),
      remedy: expect.stringContaining('single event or receiver'),
    })
    expect(warnings()).toEqual([expect.stringMatching(/"eu" is paused: its publisher "hooks" is away: Error: connect/)])
    expect(JSON.stringify(bench.logger.warnings)).not.toContain('geheim')
    expect(infos()).toEqual([])

    away = false
    await expect.poll(() => relay.status().published, slowly).toBe(1)
    expect(relay.status().paused).toBeUndefined()
    expect(infos()).toEqual(['Relay "eu" goes on: its publisher "hooks" is back'])
    await expect.poll(async () => (await other.outbox.stats()).relays[0]?.paused, slowly).toBeUndefined()
    expect(await finding()).toMatchObject({ ok: true })
    expect(warnings()).toHaveLength(1)
    await other.close()
  })

  test('of which the database is the cause says so too', async () => {
    const relay = await bench.outbox.relay({ publisher: function hooks() {}, ...timing }).start()
    await bench.sql('alter table domain_events rename to hidden')
    await expect.poll(() => relay.status().paused?.cause, slowly).toBe('database')
    const finding = async () => (await bench.outbox.doctor()).find(({ check }) => check === 'paused-relays')?.finding
    await expect.poll(finding, slowly).toMatch(/waits for its database since .*domain_events/)
    expect(warnings()).toEqual([expect.stringMatching(/"relay" is paused: its database is away: .*domain_events/)])
    await bench.sql('alter table hidden rename to domain_events')
    await expect.poll(() => relay.status().paused, slowly).toBeUndefined()
    expect(infos()).toEqual(['Relay "relay" goes on: its database is back'])
    await relay.stop()
  })

  test('is not probed with an event that has failed while there is another, and never with what follows it in its key', async () => {
    const [failed] = await bench.record('a', [1, 2])
    await bench.record('b', [1])
    await bench.sql('update domain_events set attempts = 1 where id = ?', [failed])
    const seen: string[] = []
    let [tries, away] = [0, true]
    const relay = bench.outbox.relay({
      publisher: ({ aggregateId, payload }: OutboxEvent) => {
        // The first two tries meet an outage; for the event that failed it goes on.
        if (tries++ < 2 || (away && aggregateId === 'a' && payload === 1)) throw unavailable(new Error('away'))
        seen.push(`${aggregateId} ${payload}`)
      },
      ...timing,
    })
    await relay.start()
    await expect.poll(() => relay.status().published, slowly).toBe(1)
    expect(seen).toEqual(['b 1'])
    away = false
    await expect.poll(() => relay.status().published, slowly).toBe(3)
    expect(seen).toEqual(['b 1', 'a 1', 'a 2'])
    await relay.stop()
  })

  test('that is stopped waits for nothing any more', async () => {
    let away = true
    const relay = bench.outbox.relay({
      publisher: () => {
        if (away) throw unavailable(new Error('away'))
      },
      ...timing,
    })
    await bench.record('a', [1])
    await relay.start()
    await expect.poll(() => relay.status().paused?.cause, slowly).toBe('publisher')
    await relay.stop()
    expect(relay.status()).toMatchObject({ state: 'stopped', paused: undefined })
    away = false
    await relay.start()
    await expect.poll(() => relay.status().published, slowly).toBe(1)
    expect(relay.status().paused).toBeUndefined()
    await relay.stop()
  })
})

describe.each([
  ['redisStreams', redisStreams],
  ['redisPubSub', redisPubSub],
])('%s', (_, make) => {
  beforeEach(() => open('sqlite'))

  test('leaves it to the relay to tell of a Redis that is away, with its address', async () => {
    const written = vi.spyOn(console, 'warn')
    const port = await freePort()
    const relay = bench.outbox.relay({ publisher: make({ url: `redis://me:geheim@127.0.0.1:${port}` }), ...timing })
    await bench.record('a', [1])
    await relay.start()
    await expect.poll(() => relay.status().paused?.cause, slowly).toBe('publisher')
    await relay.stop()
    expect(warnings()).toEqual([expect.stringContaining(`redis://me:***@127.0.0.1:${port}`)])
    expect(warnings()[0]).toContain('ECONNREFUSED')
    expect(written).not.toHaveBeenCalled()
    written.mockRestore()
  })

  test("warns of a given client's settings through the relay's logger, once", async () => {
    const client = new Redis(inject('redisUrl'), { lazyConnect: true })
    const relay = bench.outbox.relay({ publisher: make({ client }), ...timing })
    for (let start = 0; start < 2; start++) {
      await relay.start()
      await relay.stop()
    }
    expect(warnings()).toEqual([expect.stringContaining('The ioredis client that was given has risky settings')])
    client.disconnect()
  })
})
