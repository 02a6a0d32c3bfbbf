import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Publisher } from '../../../src/outbox/publishing/publisher.ts'
import type { Relay } from '../../../src/outbox/relay/relay.ts'
import { ConfirmedMarks } from '../../support/confirmed-marks.ts'
import { type OutboxUnderTest, openOutbox } from '../../support/outbox-bench.ts'
import { openPostgresqlServer, type RestartableServer } from '../../support/servers/restartable-servers.ts'
import { openProxyTo, type UrlProxy } from '../../support/tcp-proxy.ts'

const leaseMs = 2500
const rounds = process.env.SOAK === '1' ? 10 : 1

describe('three relays whose PostgreSQL is away for longer than their leases', () => {
  let server: RestartableServer
  let proxy: UrlProxy
  let direct: OutboxUnderTest
  const benches: OutboxUnderTest[] = []
  const relays: Relay[] = []
  let slowMs: number
  let recorded: number
  let lost: number
  let published: string[]
  let marks: ConfirmedMarks

  beforeEach(async () => {
    slowMs = 300
    recorded = 0
    lost = 0
    published = []
    marks = new ConfirmedMarks()
    server = await openPostgresqlServer()
    proxy = await openProxyTo(server.url)
    direct = await openOutbox(server.url)
    // Each relay has a single event in hand, nearly all of the time: what a crash would be blamed on.
    const publisher: Publisher = {
      name: 'slow',
      publish: async (events) => {
        for (const { id } of events) marks.publishing(id)
        await delay(slowMs)
        published.push(...events.map(({ id }) => id))
        return events.map(() => ({ status: 'published' }))
      },
    }
    for (let n = 0; n < 3; n++) {
      const bench = await openOutbox(proxy.url)
      const relay = bench.outbox.relay({
        publisher,
        batchSize: 1,
        lease: leaseMs,
        publishTimeout: leaseMs / 2,
        name: `relay ${n}`,
      })
      relay.on('leaseLost', () => void lost++)
      marks.listenTo(relay)
      benches.push(bench)
      relays.push(await relay.start())
    }
    await expect.poll(shares, { timeout: 30_000 }).toBe('20 22 22')
  })
  afterEach(async () => {
    for (const relay of relays.splice(0)) await relay.stop({ deadline: 1000 })
    for (const bench of benches.splice(0)) await bench.close()
    await direct.close()
    await proxy.close().catch(() => {})
    await server.close()
  })

  const owners = () => direct.sql<{ bucket: number; owner: string }>('select bucket, owner from outbox_leases order by bucket')
  const shares = async () => {
    const perOwner = new Map<string, number>()
    for (const { owner } of await owners()) perOwner.set(owner, (perOwner.get(owner) ?? 0) + 1)
    return [...perOwner.values()].sort().join(' ')
  }
  const record = async () => {
    for (let n = 0; n < 60; n++) await direct.record(`key ${n}`, [recorded++])
  }
  /** How many relays have exactly one event in hand that is pending. */
  const alone = async () => {
    const rows = await direct.sql(
      `select 1 from outbox_progress r join domain_events e on e.sequence::text = r.in_flight ->> 0
      where json_array_length(r.in_flight) = 1 and e.status = 'pending'`,
    )
    return rows.length
  }
  /** How many relays have given a sign of life since a moment by the database's clock. */
  const backSince = async (moment: string) => {
    const rows = await direct.sql("select 1 from outbox_relays where expires_at > ?::timestamptz + ?::int * interval '1 ms'", [
      moment,
      leaseMs,
    ])
    return rows.length
  }
  const now = async () => {
    const [row] = await direct.sql<{ now: string }>('select now()::text as now')
    return row?.now as string
  }

  const outages: Readonly<Record<string, () => Promise<void>>> = {
    'stopped and started again': async () => {
      await server.stop()
      await delay(1.5 * leaseMs)
      await server.start()
    },
    'crashed and started again': async () => {
      await server.crash()
      await delay(1.5 * leaseMs)
      await server.start()
    },
    'stalled behind the network': async () => {
      proxy.stall()
      await delay(1.5 * leaseMs)
      proxy.resume()
    },
    'stalled, with the connections lost': async () => {
      proxy.stall()
      await delay(1.5 * leaseMs)
      proxy.cut()
      proxy.resume()
    },
  }

  test.each(Object.keys(outages))(
    '%s: nobody is taken for dead, and nothing is charged',
    { timeout: 480_000 },
    async (outage) => {
      for (let round = 0; round < rounds; round++) {
        await record()
        await expect.poll(alone, { timeout: 30_000, interval: 10 }).toBe(3)
        const before = await owners()
        await outages[outage]?.()
        // Twice, so that each has looked at the others since.
        for (let look = 0; look < 2; look++) {
          await expect.poll(now, { timeout: 30_000 }).toBeTruthy()
          const moment = await now()
          await expect.poll(() => backSince(moment), { timeout: 30_000 }).toBe(3)
        }
        expect(await owners()).toEqual(before)
      }
      slowMs = 0
      const pending = () => direct.rows().then((rows) => rows.filter(({ status }) => status === 'pending').length, String)
      await expect.poll(pending, { timeout: 120_000 }).toBe(0)
      expect(lost).toBe(0)
      expect((await direct.rows()).map(({ attempts }) => attempts)).toEqual(Array(recorded).fill(0))
      expect(await direct.sql('select * from outbox_failures')).toEqual([])
      expect(await direct.outbox.deadLetters.list()).toEqual([])
      expect(new Set(published).size).toBe(recorded)
      // A crash may undo the last marks, which wait for no disk.
      if (!outage.startsWith('crashed')) expect(marks.repeated).toEqual([])
    },
  )
})
