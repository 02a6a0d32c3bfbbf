import { expect, test } from 'vitest'
import { openSampledOutbox } from '../../support/sampled-outbox.ts'

// Only PostgreSQL: a copy that takes over may lack the last seconds, and the relays of before go on with it.
test('events whose numbers are drawn a second time are published in their order', { timeout: 60_000 }, async () => {
  const { bench, samples, sent } = await openSampledOutbox()
  const seen: unknown[] = []
  const relay = bench.outbox.relay({
    publisher: (event) => void seen.push(event.payload),
    retention: 'delete',
    pollInterval: { min: 5, max: 20 },
  })
  await relay.start()
  const sampled = async (times: number) => {
    // One that is on its way may have looked before.
    const before = sent()
    await expect.poll(() => samples(before), { timeout: 20_000, interval: 5 }).toBeGreaterThanOrEqual(times)
  }
  const payloads = Array.from({ length: 100 }, (_, n) => n)
  // It depends on when the relay last began at the first pending event.
  for (let round = 0; round < 4; round++) {
    seen.length = 0
    await bench.record('lost', payloads.slice(0, 60))
    await expect.poll(() => seen.length, { timeout: 20_000 }).toBe(60)
    // The relay passes over all that had these numbers.
    await sampled(3)

    await bench.sql(`select setval('domain_events_sequence', 1, false)`)
    await sampled(1)
    seen.length = 0
    await bench.record('again', payloads)
    await expect.poll(() => seen.length, { timeout: 20_000 }).toBe(100)
    expect(seen).toEqual(payloads)
  }
  await relay.stop()
})
