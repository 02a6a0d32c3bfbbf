import { setTimeout as delay } from 'node:timers/promises'
import { Client } from 'pg'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type OutboxEvent, unavailable } from '../../../src/outbox/publishing/publisher.ts'
import type { RelayOptions } from '../../../src/outbox/relay/relay-options.ts'
import { openTestDatabase, type TestDatabase } from '../../support/databases.ts'
import { type OutboxUnderTest, openOutbox } from '../../support/outbox-bench.ts'

/** Long enough for a relay to do what it must not do. */
const aWhileMs = 300

const until = (condition: () => boolean | Promise<boolean>) => expect.poll(condition, { interval: 5, timeout: 20_000 }).toBe(true)

// On PostgreSQL alone: whoever holds a row up on SQLite holds up everything else with it.
describe('a relay whose mark has to wait', () => {
  let database: TestDatabase
  let bench: OutboxUnderTest
  let other: Client
  let seen: unknown[]

  beforeEach(async () => {
    seen = []
    database = await openTestDatabase('postgresql')
    bench = await openOutbox(database.url)
    other = new Client({ connectionString: database.url })
    await other.connect()
  })
  afterEach(async () => {
    await other.end()
    await bench.close()
    await database.close()
  })

  const collect = (event: OutboxEvent) => void seen.push(event.payload)
  const open = (options: Partial<RelayOptions> = {}) => bench.outbox.relay({ publisher: collect, batchSize: 2, ...options })
  const seenOf = (key: string) => seen.filter((payload) => String(payload).startsWith(key))
  /** Marks that concern an event wait from now on until `release`. */
  const hold = (payload: unknown) =>
    other.query(`begin; select id from domain_events where payload::text = '${JSON.stringify(payload)}' for update`)
  const release = () => other.query('rollback')

  test('publishes one batch more, and no further', async () => {
    await bench.record('a', [1, 2, 3, 4, 5, 6, 7])
    await hold(1)
    const relay = open()
    await relay.start()
    await until(() => seen.length === 4)
    await delay(aWhileMs)
    expect(seen).toEqual([1, 2, 3, 4])
    expect(relay.status()).toMatchObject({ inHand: 4, published: 0 })
    await release()
    await until(() => relay.status().published === 7)
    await relay.stop()
    expect(seen).toEqual([1, 2, 3, 4, 5, 6, 7])
  })

  test.each([
    ['alone', ['a', 'b', 'c'], ['c']],
    // A relay that starts takes others first: what killed the one before must not end it before they had their turn.
    ['with others', ['a', 'b', 'c', 'd'], ['d', 'c']],
  ])('does not try an event that was in hand in a crash, and was read %s', async (_, keys, later) => {
    for (const key of keys) await bench.record(key, [key])
    await other.query("update domain_events set attempts = 1, last_error = 'RELAY_CRASHED' where payload::text = '\"c\"'")
    await hold('a')
    const relay = open()
    await relay.start()
    await until(() => seen.length === 2)
    await delay(aWhileMs)
    expect(seen).toEqual(['a', 'b'])
    await release()
    await until(() => relay.status().published === keys.length)
    await relay.stop()
    expect(seen).toEqual(['a', 'b', ...later])
  })

  test('and whose bucket is another epoch then, publishes its events again before what follows them', async () => {
    for (const round of [1, 2, 3, 4]) for (const key of ['a', 'b']) await bench.record(key, [`${key}${round}`])
    const gate = Promise.withResolvers<void>()
    const publisher = async (event: OutboxEvent) => {
      if (event.payload === 'b1') await gate.promise
      collect(event)
    }
    const relay = open({ publisher, publishTimeout: 8000, lease: 16_000 })
    const lost: unknown[] = []
    relay.on('leaseLost', ({ buckets }) => lost.push(...buckets))
    await relay.start()
    await until(() => relay.status().inHand === 2)
    const lease = 'where bucket = (select bucket from domain_events order by sequence limit 1)'
    await other.query(`update outbox_leases set owner = null, leased_until = null, epoch = epoch + 1 ${lease}`)
    await until(async () => (await other.query(`select owner from outbox_leases ${lease}`)).rows[0].owner !== null)
    await hold('b1')
    gate.resolve()
    await until(() => seen.includes('b2'))
    await delay(aWhileMs)
    await release()
    await until(async () => (await bench.rows()).every(({ status }) => status === 'published'))
    await relay.stop()
    expect(seenOf('a')).toEqual(['a1', 'a1', 'a2', 'a3', 'a4'])
    expect(seenOf('b')).toEqual(['b1', 'b2', 'b3', 'b4'])
    expect(lost).not.toEqual([])
  })

  test('until it is given up, publishes the batch again before what failed behind it', { timeout: 60_000 }, async () => {
    await bench.record('b', ['b1'])
    await bench.record('c', ['c1'])
    await bench.record('b', ['b2', 'b3'])
    const gate = Promise.withResolvers<void>()
    let failures = 1
    const publisher = async (event: OutboxEvent) => {
      if (event.payload === 'b2' && failures-- > 0) {
        await gate.promise
        throw new Error('not now')
      }
      collect(event)
    }
    const retry = { attempts: 3, baseMs: 1, maxMs: 5 }
    const relay = open({ publisher, publishTimeout: 1000, lease: 3000, retry })
    let paused = false
    relay.on('paused', ({ cause }) => {
      paused = cause === 'database'
    })
    await hold('b1')
    await relay.start()
    await until(() => failures === 0)
    // Nothing is renewed from now on, as if the database were away.
    await other.query('select id from outbox_relays for update')
    gate.resolve()
    await until(() => paused)
    await release()
    await until(async () => (await bench.rows()).every(({ status }) => status === 'published'))
    await relay.stop()
    expect(seenOf('b')).toEqual(['b1', 'b1', 'b2', 'b3'])
  })

  test('until it is given up, does not take a publisher for probed that is away again', { timeout: 60_000 }, async () => {
    await bench.record('a', [1])
    let calls = 0
    // Away, back for one probe, and away for good.
    const publisher = () => {
      if (++calls !== 2) throw unavailable(new Error('away'))
    }
    const relay = open({ publisher, publishTimeout: 1000, lease: 3000 })
    let paused = false
    relay.on('paused', ({ cause }) => {
      paused = cause === 'database'
    })
    await hold(1)
    await relay.start()
    await until(() => calls === 2)
    await other.query('select id from outbox_relays for update')
    await until(() => paused)
    await release()
    await until(() => calls > 2)
    const before = calls
    await delay(2500)
    // One each second; without a wait between them there would be hundreds.
    expect(calls - before).toBeLessThan(10)
    await relay.stop()
  })

  test('and whose drain fails, gives its buckets back only then', async () => {
    await bench.record('a', [1, 2, 3, 4, 5])
    await other.query(`create function refuse() returns trigger language plpgsql as $$ begin
      if new.in_flight::text like '%"3"%' then raise exception 'no such note'; end if; return new; end $$;
      create trigger refuse before update on outbox_progress for each row execute function refuse()`)
    await hold(1)
    const drained = open()
      .drain()
      .catch((error: unknown) => error)
    await until(() => seen.length === 2)
    await delay(aWhileMs)
    const held = await bench.sql<{ n: number | string }>('select count(*) as n from outbox_leases where owner is not null')
    expect(Number(held[0]?.n)).toBe(64)
    await release()
    expect(await drained).toMatchObject({ message: expect.stringContaining('no such note') })
    expect((await bench.rows()).map(({ status }) => status)).toEqual(['published', 'published', 'pending', 'pending', 'pending'])
    await bench.sql('drop trigger refuse on outbox_progress')
    await open().drain()
    expect(seen).toEqual([1, 2, 3, 4, 5])
  })
})
