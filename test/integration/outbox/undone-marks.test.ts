import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { OutboxEvent } from '../../../src/outbox/publishing/publisher.ts'
import { LeaseStore } from '../../../src/outbox/store/lease-store.ts'
import { OutboxStore } from '../../../src/outbox/store/outbox-store.ts'
import { ProgressStore } from '../../../src/outbox/store/progress-store.ts'
import { RelayMarks } from '../../../src/outbox/store/relay-marks.ts'
import { type OutboxUnderTest, openOutbox } from '../../support/outbox-bench.ts'
import { outboxGround } from '../../support/outbox-ground.ts'
import { type Delivery, findInversion } from '../../support/relay-process.ts'
import { openPostgresqlServer, type RestartableServer } from '../../support/servers/restartable-servers.ts'

const timing = { pollInterval: { min: 5, max: 50 } }
const toDelivery = ({ id, orderingKey, payload }: OutboxEvent): Delivery => ({ id, key: String(orderingKey), payload })

describe('a relay whose PostgreSQL crashes and forgets the last marks', () => {
  let server: RestartableServer
  let bench: OutboxUnderTest

  beforeEach(async () => {
    server = await openPostgresqlServer()
    bench = await openOutbox(server.url)
    // What does not wait for the disk is then not there by itself.
    await bench.sql("alter system set wal_writer_delay = '10s'")
    await bench.sql('select pg_reload_conf()')
    await delay(300)
  })
  afterEach(async () => {
    await bench.close()
    await server.close()
  })

  test.each(['keep', 'delete'] as const)(
    'publishes again from there to the end before anything new, with retention %s',
    { timeout: 120_000 },
    async (retention) => {
      const keys = ['a', 'b', 'c']
      for (let n = 0; n < 6; n++) for (const key of keys) await bench.record(key, [n])
      const seen: Delivery[] = []
      const lost: unknown[] = []
      const pending = () => bench.sql("select id from domain_events where status = 'pending'").then((rows) => rows.length)
      // The first connections that are taken may be those that a crash ended. What is in hand is pending, so there is always some.
      const pendingNow = () => vi.waitUntil(() => pending().catch(() => undefined), { timeout: 20_000, interval: 10 })
      let undone = 0
      let crashing = false
      const relay = bench.outbox.relay({
        batchSize: 3,
        retention,
        ...timing,
        publisher: async (event) => {
          seen.push(toDelivery(event))
          // Again while it undid nothing: what else the server wrote may have taken the marks to the disk.
          // The events of a wave come at once, and one of them crashes the server.
          if (Number(event.payload) < 3 || undone > 0 || crashing) return
          crashing = true
          // The marks of two batches are answered meanwhile.
          await delay(100)
          const before = await pendingNow()
          await server.crash()
          await server.start()
          undone = (await pendingNow()) - before
          crashing = false
        },
      })
      relay.on('leaseLost', (loss) => lost.push(loss))
      await relay.start()
      await expect.poll(() => pending().catch(String), { timeout: 60_000, interval: 50 }).toBe(0)
      await expect.poll(() => relay.status().inHand, { timeout: 20_000 }).toBe(0)
      expect(relay.status()).toMatchObject({ paused: undefined, retried: 0, deadLettered: 0 })
      await relay.stop()
      const payloads = seen.filter(({ key }) => key === 'Note:a').map(({ payload }) => payload)
      expect(undone).toBeGreaterThan(0)
      expect(seen.length).toBeGreaterThanOrEqual(18 + undone)
      expect(findInversion(seen), payloads.join(' ')).toBeUndefined()
      expect(lost).toEqual([])
    },
  )
})

describe('marks that were undone on PostgreSQL', () => {
  const ground = outboxGround('postgresql')

  /** As a crash does: the last marks of the relay are gone. */
  const undo = (payloads: readonly number[]) =>
    ground.bench.sql(
      `with undone as (update domain_events set status = 'pending', published_at = null where payload::text in ('${payloads.join("','")}'))
      update outbox_progress set marks = marks - ${payloads.length}`,
    )

  test('while nothing was due come again before the next event', async () => {
    const { bench } = ground
    const seen: unknown[] = []
    const relay = bench.outbox.relay({ publisher: ({ payload }) => void seen.push(payload), pollInterval: { min: 60_000 } })
    await relay.start()
    for (const n of [1, 2, 3]) {
      await bench.record('a', [n])
      await expect.poll(() => relay.status().published, { timeout: 10_000 }).toBe(n)
    }
    await undo([2, 3])
    await bench.record('a', [4])
    await expect.poll(() => relay.status().published, { timeout: 10_000 }).toBe(6)
    expect(seen).toEqual([1, 2, 3, 2, 3, 4])
    await relay.stop()
  })

  test('behind a batch that was noted let no mark of that batch pass', async () => {
    const { bench } = ground
    await bench.record('a', [1, 2, 3, 4, 5])
    const seen: unknown[] = []
    const lost: unknown[] = []
    let times = 0
    const relay = bench.outbox.relay({
      batchSize: 1,
      ...timing,
      publisher: async ({ payload }) => {
        seen.push(payload)
        if (payload !== 3 || times++ > 0) return
        await expect.poll(() => relay.status().published, { timeout: 10_000 }).toBe(2)
        await undo([1, 2])
      },
    })
    relay.on('leaseLost', (loss) => lost.push(loss))
    await relay.start()
    await expect.poll(() => relay.status().published, { timeout: 10_000 }).toBe(7)
    await relay.stop()
    expect(seen).toEqual([1, 2, 3, 1, 2, 3, 4, 5])
    // Of 3 the first mark was refused, and is counted nowhere.
    expect(relay.status().published).toBe(7)
    expect(lost).toEqual([])
    expect((await bench.rows()).every(({ status, attempts }) => status === 'published' && attempts === 0)).toBe(true)
  })

  test('are found by a mark that is tried again, and let no mark pass of a batch that is on its way meanwhile', async () => {
    const { bench } = ground
    await bench.record('a', [1, 2, 3, 4, 5])
    const seen: unknown[] = []
    const third = Promise.withResolvers<void>()
    const mark = ProgressStore.prototype.markPublished
    let marks = 0
    const failing = vi.spyOn(ProgressStore.prototype, 'markPublished').mockImplementation(async function (
      this: ProgressStore,
      ...args
    ) {
      if (++marks !== 2) return mark.apply(this, args)
      await third.promise
      throw new Error('the connection was lost')
    })
    const relay = bench.outbox.relay({
      batchSize: 1,
      ...timing,
      publisher: async ({ payload }) => {
        seen.push(payload)
        if (payload !== 3 || marks > 2) return
        await undo([1])
        third.resolve()
      },
    })
    await relay.start()
    await expect.poll(() => relay.status().published, { timeout: 10_000 }).toBe(6)
    await relay.stop()
    failing.mockRestore()
    expect(seen).toEqual([1, 2, 3, 1, 2, 3, 4, 5])
    expect((await bench.rows()).every(({ status, attempts }) => status === 'published' && attempts === 0)).toBe(true)
  })

  describe('in the statement of a mark', () => {
    const id = '0193a2b4-0000-7000-8000-000000000001'
    let marks: RelayMarks
    let progress: ProgressStore

    beforeEach(async () => {
      const store = new OutboxStore(ground.bench.data.orm)
      marks = new RelayMarks(id)
      progress = new ProgressStore(store, marks)
      await new LeaseStore(store).heartbeat({ id, name: 'r', publisher: 'p' }, 60_000)
      await ground.bench.record('a', [1, 2, 3])
    })
    const held = () =>
      ground.bench.sql<{ id: string; bucket: number }>('select id, bucket from domain_events order by sequence').then((rows) => {
        return rows.map((row) => [{ ...row, epoch: 0 }])
      })
    const statuses = async () => (await ground.bench.rows()).map(({ status }) => status)

    test('are found, nothing is changed, and the count goes on from there', async () => {
      const [one = [], two = [], three = []] = await held()
      expect(await progress.markPublished(one, 'keep')).toEqual([])
      expect(await progress.markPublished(two, 'keep')).toEqual([])
      await undo([2])
      expect(await progress.markPublished(three, 'keep')).toBe('undone')
      expect(await statuses()).toEqual(['published', 'pending', 'pending'])
      expect(marks.known).toBe(1)
      for (const batch of [two, three]) expect(await progress.markPublished(batch, 'keep')).toEqual([])
      expect(marks.known).toBe(3)
    })

    test('are not seen in one that was carried out and whose answer was lost', async () => {
      const [one = []] = await held()
      await progress.markPublished(one, 'keep', 0)
      await progress.markPublished(one, 'keep', 0)
      expect(marks.known).toBe(1)
      expect(await progress.noteInFlight(id, [])).toEqual({ redrives: 0, marks: 1 })
    })

    test('are nobody’s of a relay that is not registered', async () => {
      const [one = []] = await held()
      await ground.bench.sql('delete from outbox_progress')
      expect(await progress.markPublished(one, 'keep', 7)).toEqual([])
      expect(await statuses()).toEqual(['published', 'pending', 'pending'])
      expect(await progress.noteInFlight(id, [])).toEqual({ redrives: 0, marks: undefined })
    })
  })
})
