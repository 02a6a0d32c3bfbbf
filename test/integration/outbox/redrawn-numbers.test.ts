import { expect, test } from 'vitest'
import { type OutboxUnderTest, openOutbox } from '../../support/outbox-bench.ts'
import { openSampledOutbox, type SampledOutbox } from '../../support/sampled-outbox.ts'
import { openProxyTo } from '../../support/tcp-proxy.ts'

// Only PostgreSQL: a copy that takes over may lack the last seconds, and the relays of before go on with it.
const payloads = Array.from({ length: 100 }, (_, n) => n)

test('events whose numbers are drawn a second time are published in their order', { timeout: 60_000 }, async () => {
  const sampled = await openSampledOutbox()
  const { bench } = sampled
  const { seen, relay } = await startRelay(bench)
  // It depends on when the relay last began at the first pending event.
  for (let round = 0; round < 4; round++) {
    await publishLost(sampled, seen)

    await drawAgain(bench)
    await awaitSamples(sampled, 1)
    seen.length = 0
    await bench.record('again', payloads)
    await expect.poll(() => seen.length, { timeout: 20_000 }).toBe(100)
    expect(seen).toEqual(payloads)
  }
  await relay.stop()
})

test('they are so behind an error, before the relay looks at the sequence again', { timeout: 60_000 }, async () => {
  const sampled = await openSampledOutbox()
  const { bench } = sampled
  const proxy = await openProxyTo(sampled.url)
  const behind = await openOutbox(proxy.url)
  const { seen, relay } = await startRelay(behind)
  const told = (name: 'paused' | 'resumed') => new Promise<void>((resolve) => relay.on(name, () => resolve()))
  // It depends on when the relay last looked.
  for (let round = 0; round < 2; round++) {
    await publishLost(sampled, seen)

    const paused = told('paused')
    await proxy.refuse()
    await paused
    await drawAgain(bench)
    const resumed = told('resumed')
    await proxy.accept()
    // It has read by now how little there is.
    await resumed
    seen.length = 0
    await bench.record('again', payloads)
    await expect.poll(() => seen.length, { timeout: 20_000 }).toBe(100)
    expect(seen).toEqual(payloads)
  }
  await relay.stop()
  await behind.close()
  await proxy.close()
})

async function startRelay({ outbox }: OutboxUnderTest) {
  const seen: unknown[] = []
  const relay = outbox.relay({
    publisher: (event) => void seen.push(event.payload),
    retention: 'delete',
    pollInterval: { min: 5, max: 20 },
  })
  await relay.start()
  return { seen, relay }
}

/** Publishes events that the copy will lack, until the relay passes over all that had their numbers. */
async function publishLost(sampled: SampledOutbox, seen: unknown[]): Promise<void> {
  seen.length = 0
  await sampled.bench.record('lost', payloads.slice(0, 60))
  await expect.poll(() => seen.length, { timeout: 20_000 }).toBe(60)
  await awaitSamples(sampled, 3)
}

async function awaitSamples({ samples, sent }: SampledOutbox, times: number): Promise<void> {
  // One that is on its way may have looked before.
  const before = sent()
  await expect.poll(() => samples(before), { timeout: 20_000, interval: 5 }).toBeGreaterThanOrEqual(times)
}

async function drawAgain({ sql }: OutboxUnderTest): Promise<void> {
  await sql(`select setval('domain_events_sequence', 1, false)`)
}
