import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { openTestDatabase, type TestDatabase } from '../../support/databases.ts'
import { type OutboxUnderTest, openOutbox } from '../../support/outbox-bench.ts'

/** Of roles and databases the default may be stricter, for the sake of other programs. */
describe.each(['repeatable read', 'serializable'])('relays where %s is the default', (level) => {
  let database: TestDatabase
  const benches: OutboxUnderTest[] = []
  afterEach(async () => {
    for (const bench of benches.splice(0)) await bench.close()
    await database.close()
  })

  test('deliver all in order, while writers write and relays come and go, and tell of no outage', {
    timeout: 60_000,
  }, async () => {
    database = await openTestDatabase('postgresql')
    const first = await openOutbox(database.url)
    benches.push(first)
    await first.sql(
      `do $$ begin execute format('alter database %I set default_transaction_isolation = %L', current_database(), '${level}'); end $$`,
    )
    await first.close()
    for (let n = 0; n < 3; n++) benches[n] = await openOutbox(database.url)
    const [bench] = benches as [OutboxUnderTest]
    expect(await bench.sql('show default_transaction_isolation')).toEqual([{ default_transaction_isolation: level }])
    const seen = new Map<string, number[]>()
    const told: string[] = []
    const relays = benches.map(({ outbox }) => {
      const relay = outbox.relay({
        batchSize: 5,
        pollInterval: { min: 5, max: 50 },
        publisher: function publish({ aggregateId, payload }) {
          const of = seen.get(aggregateId) ?? []
          seen.set(aggregateId, [...of, payload as number])
        },
      })
      relay.on('paused', ({ cause, error }) => told.push(`${cause}: ${error.message}`))
      relay.on('retried', () => told.push('retried'))
      return relay
    })
    const [one, ...others] = relays
    await one?.start()
    const keys = ['a', 'b', 'c', 'd', 'e', 'f']
    const writing = keys.map(async (key) => {
      for (let n = 0; n < 40; n++) await bench.record(key, [n])
    })
    for (const relay of others) {
      await delay(200)
      await relay.start()
    }
    await Promise.all(writing)
    await expect.poll(() => [...seen.values()].flat().length, { timeout: 30_000 }).toBeGreaterThanOrEqual(240)
    for (const relay of relays) await relay.stop()
    for (const key of keys) expect(seen.get(key)).toEqual(Array.from({ length: 40 }, (_, n) => n))
    expect(await bench.sql("select id from domain_events where status = 'pending'")).toEqual([])
    expect(told).toEqual([])
    expect(benches.flatMap(({ logger }) => logger.warnings.map(({ message }) => message))).toEqual([])
  })
})
