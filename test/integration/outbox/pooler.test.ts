import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createDataAccess } from '../../../src/data-access.ts'
import { openTestDatabase, type TestDatabase } from '../../support/databases.ts'
import { type OutboxUnderTest, openOutbox } from '../../support/outbox-bench.ts'
import { startTraffic } from '../../support/outbox-traffic.ts'
import { havePgBouncer, openPgBouncer } from '../../support/servers/pgbouncer-server.ts'
import type { RestartableServer } from '../../support/servers/restartable-servers.ts'

/** Far fewer than the writers, relays and heartbeats at work. */
const serverConnections = 2

const available = await havePgBouncer()

describe('through a PgBouncer in transaction mode', () => {
  let database: TestDatabase
  let direct: OutboxUnderTest
  let pooler: RestartableServer
  let benches: OutboxUnderTest[]

  beforeEach(async ({ skip }) => {
    skip(!available, 'no PgBouncer here: install it, as by apt-get install pgbouncer')
    database = await openTestDatabase('postgresql')
    direct = await openOutbox(database.url)
    pooler = await openPgBouncer(database.url, serverConnections)
    benches = [await openOutbox(pooler.url), await openOutbox(pooler.url)]
  })
  afterEach(async () => {
    if (!available) return
    for (const bench of benches) await bench.close()
    await pooler.close()
    await direct.close()
    await database.close()
  })

  test('two relays and their writers keep the order, once each, on two connections', { timeout: 120_000 }, async () => {
    const [one, two] = benches as [OutboxUnderTest, OutboxUnderTest]
    const deliveries: { readonly key: string; readonly payload: unknown }[] = []
    const relays = benches.map((bench) =>
      bench.outbox.relay({
        publisher: function pooled({ aggregateId, payload }) {
          deliveries.push({ key: aggregateId, payload })
        },
        batchSize: 20,
        lease: 4000,
        publishTimeout: 1000,
        pollInterval: { min: 5, max: 50 },
      }),
    )
    for (const relay of relays) await relay.start()
    await expect.poll(() => relays.map((relay) => relay.status().buckets.length), { timeout: 20_000 }).toEqual([32, 32])
    const rounds = 50
    const keys = Array.from({ length: 8 }, (_, n) => `k${n}`)
    // The two take turns on one key, so that its events come through both.
    await Promise.all(
      keys.map(async (key) => {
        for (let n = 0; n < rounds; n++) await (n % 2 === 0 ? one : two).record(key, [n])
      }),
    )
    await expect.poll(() => deliveries.length, { timeout: 60_000 }).toBe(rounds * keys.length)
    for (const key of keys) {
      const payloads = deliveries.filter((delivery) => delivery.key === key).map(({ payload }) => payload)
      expect(payloads).toEqual([...Array(rounds).keys()])
    }
    for (const relay of relays) await relay.stop()
    // Whoever gets a connection next finds nothing of ours on it.
    const found = await Promise.all(
      Array.from({ length: 20 }, (_, n) =>
        (n % 2 === 0 ? one : two).sql<{ pid: number; settings: string }>(
          `select pg_backend_pid() as pid, current_setting('statement_timeout') || ' ' || current_setting('synchronous_commit') || ' ' ||
            (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as settings from pg_sleep(0.02)`,
        ),
      ),
    )
    const [own] = await direct.sql<{ commit: string }>("select current_setting('synchronous_commit') as commit")
    expect(new Set(found.flat().map(({ settings }) => settings))).toEqual(new Set([`0 ${own?.commit} 0`]))
    expect(new Set(found.flat().map(({ pid }) => pid)).size).toBe(serverConnections)
  })

  test.each(['stop', 'crash'] as const)(
    'that goes away by a %s: nothing is lost, and order is kept',
    { timeout: 120_000 },
    async (end) => {
      const traffic = await startTraffic(benches[0] as OutboxUnderTest, direct)
      for (let round = 0; round < 3; round++) {
        await traffic.grown(20)
        await pooler[end]()
        await pooler.start()
      }
      await traffic.finish()
    },
  )

  test('the doctor sees it, and finds all else well', async () => {
    const findings = await (benches[0] as OutboxUnderTest).outbox.doctor()
    expect(findings.filter(({ ok }) => !ok)).toEqual([])
    expect(findings.find(({ check }) => check === 'pooler')?.finding).toContain('PgBouncer')
    const straight = (await direct.outbox.doctor()).find(({ check }) => check === 'pooler')
    expect(straight?.finding).toBe('This process is connected to PostgreSQL itself')
  })

  test('a statementTimeoutMs, which PgBouncer refuses, is told with its cure', async () => {
    const opening = createDataAccess({ database: { url: pooler.url, statementTimeoutMs: 1000 } })
    await expect(opening).rejects.toMatchObject({
      code: 'DATABASE_UNREACHABLE',
      message: expect.stringMatching(/cannot be used: a pooler stands before it.*leave that out.*alter role/),
      context: { code: '08P01' },
    })
  })
})
