import { afterEach, describe, expect, test, vi } from 'vitest'
import { EventStore } from '../../../src/outbox/store/event-store.ts'
import type { StoredEvent } from '../../../src/outbox/store/stored-event.ts'
import { dialects } from '../../support/databases.ts'
import { outboxGround } from '../../support/outbox-ground.ts'

const large = 'x'.repeat(20_000)
const batchSize = 5
const inAnHour = () => ({ availableAt: new Date(Date.now() + 3_600_000) })

// A relay has room for two batches. What waits was read with its payloads, in readings that grew to ten thousand rows.
describe.each(dialects)('a relay on %s', (dialect) => {
  const ground = outboxGround(dialect)
  afterEach(() => vi.restoreAllMocks())

  test.each([
    ['that wait for their time', 'wait'],
    ['behind others that wait', 'behind'],
  ])('reads the payloads of two batches at most past many events %s', { timeout: 60_000 }, async (_, how) => {
    const { bench } = ground
    // More keys than a fetch leaves out by name.
    await bench.data.unitOfWork(async () => {
      for (let n = 0; n < 700; n++) {
        if (how === 'wait') await bench.record(`k${n}`, [large], inAnHour())
        else await bench.record(`k${n}`, [1], inAnHour())
      }
      if (how === 'behind') for (let n = 0; n < 700; n++) await bench.record(`k${n}`, [large])
      for (let n = 0; n < 12; n++) await bench.record(`good${n}`, [large])
    })
    const sizes: number[] = []
    const measure = <Rows extends readonly StoredEvent[]>(rows: Rows): Rows => {
      sizes.push(rows.reduce((sum, { payloadJson }) => sum + payloadJson.length, 0))
      return rows
    }
    const { fetch, fetchNoting, fetchEarlier } = EventStore.prototype
    vi.spyOn(EventStore.prototype, 'fetch').mockImplementation(async function (this: EventStore, request) {
      return measure(await fetch.call(this, request))
    })
    vi.spyOn(EventStore.prototype, 'fetchNoting').mockImplementation(async function (this: EventStore, request, relay) {
      const noted = await fetchNoting.call(this, request, relay)
      measure(noted.rows)
      return noted
    })
    vi.spyOn(EventStore.prototype, 'fetchEarlier').mockImplementation(async function (this: EventStore, heads) {
      return measure(await fetchEarlier.call(this, heads))
    })
    const seen: unknown[] = []
    const relay = bench.outbox.relay({ publisher: ({ payload }) => void seen.push(payload), batchSize })
    await relay.start()
    await expect.poll(() => seen.length, { interval: 20, timeout: 15_000 }).toBe(12)
    await relay.stop()
    expect(seen.every((payload) => payload === large)).toBe(true)
    expect(Math.max(...sizes)).toBeLessThanOrEqual(2 * batchSize * (large.length + 2))
  })
})
