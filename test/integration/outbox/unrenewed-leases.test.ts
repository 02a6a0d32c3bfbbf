import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type { PublishFunction } from '../../../src/outbox/publishing/publisher.ts'
import type { Relay } from '../../../src/outbox/relay/relay.ts'
import { dialects, openTestDatabase } from '../../support/databases.ts'
import { type OutboxUnderTest, openOutbox } from '../../support/outbox-bench.ts'
import { outboxGround } from '../../support/outbox-ground.ts'

const timing = { publishTimeout: 500, lease: 1500, pollInterval: { min: 5, max: 50 } }
const slowly = { timeout: 30_000, interval: 50 }

function listen(relay: Relay): string[] {
  const told: string[] = []
  relay.on('paused', ({ cause, error }) => told.push(`paused ${cause}: ${error.message}`))
  relay.on('resumed', ({ cause }) => told.push(`resumed ${cause}`))
  return told
}

/** Starts a relay, which tells what it has published once it has published something. */
async function startPublishing({ outbox, record }: OutboxUnderTest) {
  const published: unknown[] = []
  const publish: PublishFunction = ({ payload }) => void published.push(payload)
  const relay = outbox.relay({ ...timing, publisher: publish })
  const told = listen(relay)
  await relay.start()
  await record('a', [1])
  await expect.poll(() => published, slowly).toEqual([1])
  return { relay, published, told }
}

/** Signs of life, reads, notes and marks still come through. */
async function refuseRenewals({ sql }: OutboxUnderTest, dialect: (typeof dialects)[number]): Promise<() => Promise<unknown>> {
  if (dialect === 'sqlite') {
    await sql(`create trigger refuse before update on outbox_leases begin select raise(abort, 'no lease'); end`)
    return () => sql('drop trigger refuse')
  }
  await sql(`create function refuse() returns trigger language plpgsql as $$ begin raise exception 'no lease'; end $$`)
  await sql('create trigger refuse before update on outbox_leases for each row execute function refuse()')
  return () => sql('drop trigger refuse on outbox_leases')
}

describe.each(dialects)('on %s, where leases cannot be renewed,', (dialect) => {
  const ground = outboxGround(dialect)

  test('a relay tells that it is paused once they have run out, and that it goes on', { timeout: 90_000 }, async () => {
    const { bench } = ground
    const info: { readonly mock: { readonly calls: unknown[][] } } = vi.spyOn(bench.logger, 'info')
    const { relay, published, told } = await startPublishing(bench)
    const allow = await refuseRenewals(bench, dialect)
    await expect
      .poll(() => relay.status().paused, slowly)
      .toMatchObject({
        cause: 'database',
        error: expect.stringContaining('no lease'),
      })
    await bench.record('b', [2])
    const relays = async () => (await bench.outbox.stats()).relays
    await expect.poll(relays, slowly).toMatchObject([{ paused: { cause: 'database' } }])
    const doctor = async () => (await bench.outbox.doctor()).find(({ check }) => check === 'paused-relays')?.finding
    expect(await doctor()).toMatch(/waits for its database since .*no lease/)
    expect(bench.logger.warnings.map(({ message }) => message)).toEqual([
      expect.stringContaining('could not renew its leases'),
      expect.stringMatching(/"relay" is paused: its database is away: .*no lease/),
    ])
    expect(published).toEqual([1])
    await allow()
    await expect.poll(() => published, slowly).toEqual([1, 2])
    await expect.poll(() => relay.status().paused, slowly).toBeUndefined()
    expect(told).toEqual([expect.stringMatching(/^paused database: .*no lease/), 'resumed database'])
    expect(info.mock.calls.map(([message]) => message)).toContain('Relay "relay" goes on: its database is back')
    await relay.stop()
  })

  test('a drain ends with the error of the database', { timeout: 90_000 }, async () => {
    const { bench } = ground
    const many = 200
    await bench.record(
      'a',
      Array.from({ length: many }, (_, n) => n),
    )
    const seen = new Set<unknown>()
    let allow = async (): Promise<unknown> => undefined
    const relay = bench.outbox.relay({
      ...timing,
      batchSize: 1,
      publisher: async ({ payload }) => {
        if (seen.size === 0) allow = await refuseRenewals(bench, dialect)
        seen.add(payload)
        await delay(250)
      },
    })
    await expect(relay.drain()).rejects.toThrow('no lease')
    expect(seen.size).toBeLessThan(many)
    expect(relay.status().paused).toBeUndefined()
    await allow()
    const drained = await bench.outbox.relay({ ...timing, publisher: ({ payload }) => void seen.add(payload) }).drain()
    expect(drained.published).toBeGreaterThan(0)
    expect(seen.size).toBe(many)
  })
})

describe('on PostgreSQL a relay one of whose leases is locked by a transaction that stands still', () => {
  test('tells that it is paused, and goes on behind it', { timeout: 120_000 }, async () => {
    const database = await openTestDatabase('postgresql')
    onTestFinished(() => database.close())
    const bench = await openOutbox(database.url)
    onTestFinished(() => bench.close())
    const { relay, published, told } = await startPublishing(bench)
    const other = new pg.Client({ connectionString: database.url })
    await other.connect()
    onTestFinished(() => other.end())
    await other.query('begin; select bucket from outbox_leases where bucket = 3 for update')
    await expect.poll(() => relay.status().paused?.cause, { ...slowly, timeout: 60_000 }).toBe('database')
    await bench.record('b', [2])
    await delay(200)
    expect(published).toEqual([1])
    await other.query('rollback')
    await expect.poll(() => published, slowly).toEqual([1, 2])
    await expect.poll(() => told, slowly).toEqual([expect.stringContaining('paused database'), 'resumed database'])
    await relay.stop()
  })
})
