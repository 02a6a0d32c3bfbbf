import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openTestDatabase } from '../../support/databases.ts'
import { type OutboxUnderTest, openOutbox } from '../../support/outbox-bench.ts'
import { startTraffic } from '../../support/outbox-traffic.ts'
import { openPostgresqlServer, type RestartableServer } from '../../support/servers/restartable-servers.ts'
import { openProxyTo } from '../../support/tcp-proxy.ts'

const rounds = process.env.SOAK === '1' ? 30 : 3
/** Of a test that ends and starts a server each round, in ms. */
const timeout = 60_000 + rounds * 10_000

describe('a relay and writers whose PostgreSQL connections are terminated', () => {
  test('lose nothing and keep the order, time and again', { timeout: 120_000 }, async () => {
    const database = await openTestDatabase('postgresql')
    const bench = await openOutbox(database.url)
    const traffic = await startTraffic(bench, bench)
    const killer = new pg.Client({ connectionString: database.url })
    await killer.connect()
    for (let round = 0; round < rounds * 3; round++) {
      await traffic.grown(10)
      await killer.query(
        'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
      )
    }
    await killer.end()
    await traffic.finish()
    await bench.close()
    await database.close()
  })

  test('a mark that was carried out, and whose answer was lost, is not taken for a lost lease', async () => {
    const database = await openTestDatabase('postgresql')
    const direct = await openOutbox(database.url)
    const proxy = await openProxyTo(database.url)
    const bench = await openOutbox(proxy.url)
    let lost = 0
    let calls = 0
    const relay = bench.outbox.relay({
      publisher: () => void calls++,
      pollInterval: { min: 5, max: 50 },
    })
    relay.on('leaseLost', () => void lost++)
    await relay.start()
    for (let round = 0; round < rounds * 3; round++) {
      const before = calls
      await direct.record('a', [round])
      await expect.poll(() => calls, { interval: 1, timeout: 20_000 }).toBeGreaterThan(before)
      proxy.cut()
    }
    await expect
      .poll(() => direct.rows().then((rows) => rows.filter(({ status }) => status === 'pending').length), { timeout: 20_000 })
      .toBe(0)
    expect(lost).toBe(0)
    await relay.stop()
    await bench.close()
    await proxy.close().catch(() => {})
    await direct.close()
    await database.close()
  })
})

describe('a relay whose PostgreSQL stands still behind the network', () => {
  test('goes on when it is back, with nothing lost and the order kept', { timeout: 60_000 }, async () => {
    const database = await openTestDatabase('postgresql')
    const direct = await openOutbox(database.url)
    const proxy = await openProxyTo(database.url)
    const bench = await openOutbox(proxy.url)
    const traffic = await startTraffic(bench, direct, { lease: 1000 })
    await traffic.grown(20)
    proxy.stall()
    await delay(2500)
    proxy.resume()
    await traffic.grown(20)
    await traffic.finish()
    await bench.close()
    await proxy.close().catch(() => {})
    await direct.close()
    await database.close()
  })

  test('gives up connections that nobody answers on, says so, and goes on over new ones', { timeout: 120_000 }, async () => {
    const database = await openTestDatabase('postgresql')
    const direct = await openOutbox(database.url)
    const proxy = await openProxyTo(database.url)
    const bench = await openOutbox(proxy.url)
    const delivered: unknown[] = []
    const relay = bench.outbox.relay({
      publisher: ({ payload }) => void delivered.push(payload),
      lease: 2000,
      publishTimeout: 500,
      pollInterval: { min: 5, max: 50 },
    })
    const told: { cause: string; error?: unknown }[] = []
    relay.on('paused', (pause) => void told.push(pause))
    await relay.start()
    await direct.record('a', [1, 2])
    await expect.poll(() => delivered, { timeout: 20_000 }).toEqual([1, 2])
    // From here on nothing comes back, and nobody says that a connection has ended.
    proxy.stall()
    await direct.record('a', [3])
    await expect.poll(() => told.length, { timeout: 60_000 }).toBe(1)
    expect(told[0]?.cause).toBe('database')
    // The statement that got no answer, or the connection that could not be made.
    expect(String(told[0]?.error)).toMatch(/did not answer within 5000 ms|No connection of the pool/)
    expect(relay.status().paused?.cause).toBe('database')
    await direct.record('a', [4])
    proxy.cut()
    proxy.resume()
    await expect.poll(() => delivered.at(-1), { timeout: 60_000 }).toBe(4)
    expect(delivered).toEqual([1, 2, 3, 4])
    await expect.poll(() => relay.status().paused, { timeout: 20_000 }).toBeUndefined()
    const outcomes = async () => (await direct.rows()).map(({ attempts, status }) => `${status} after ${attempts} failures`)
    const marked = Array.from({ length: 4 }, () => 'published after 0 failures')
    await expect.poll(outcomes, { timeout: 20_000 }).toEqual(marked) // the last mark follows the delivery
    await relay.stop()
    await bench.close()
    await proxy.close().catch(() => {})
    await direct.close()
    await database.close()
  })

  test('stops within its deadline', { timeout: 20_000 }, async () => {
    const database = await openTestDatabase('postgresql')
    const proxy = await openProxyTo(database.url)
    const bench = await openOutbox(proxy.url)
    const relay = bench.outbox.relay({ publisher: () => {}, lease: 1000, publishTimeout: 500, pollInterval: { min: 5, max: 20 } })
    await relay.start()
    proxy.stall()
    await delay(300)
    const ended = await Promise.race([relay.stop({ deadline: 200 }).then(() => 'stopped'), delay(10_000, 'still waiting')])
    proxy.resume()
    expect(ended).toBe('stopped')
    // What was abandoned ends by itself.
    await bench.sql('select 1')
    await expect.poll(async () => (await bench.data.stats()).pool.inUse, { timeout: 10_000 }).toBe(0)
    await bench.close()
    await proxy.close().catch(() => {})
    await database.close()
  })
})

describe('a relay and writers whose PostgreSQL goes away', () => {
  let server: RestartableServer
  let bench: OutboxUnderTest

  beforeEach(async () => {
    server = await openPostgresqlServer()
    bench = await openOutbox(server.url)
  })
  afterEach(async () => {
    await bench.close()
    await server.close()
  })

  test.each(['stop', 'crash'] as const)('by a %s lose nothing and keep the order', { timeout }, async (end) => {
    const traffic = await startTraffic(bench, bench)
    for (let round = 0; round < rounds; round++) {
      await traffic.grown(10)
      await server[end]()
      await delay((round % 10) * 200)
      await server.start()
    }
    await traffic.finish(end === 'crash' ? 'may be undone' : 'stand')
  })
})
