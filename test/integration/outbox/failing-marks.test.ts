import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import type { PublishFunction } from '../../../src/outbox/publishing/publisher.ts'
import type { Relay } from '../../../src/outbox/relay/relay.ts'
import { ProgressStore } from '../../../src/outbox/store/progress-store.ts'
import { dialects } from '../../support/databases.ts'
import { outboxGround } from '../../support/outbox-ground.ts'

/** Lets each mark fail, and nothing else, while told to. */
function failMarks() {
  const { markPublished } = ProgressStore.prototype
  const state = { fails: true, tries: 0 }
  ProgressStore.prototype.markPublished = async function (...args) {
    state.tries++
    if (state.fails) throw new Error('permission denied for table domain_events')
    return markPublished.apply(this, args)
  }
  onTestFinished(() => {
    ProgressStore.prototype.markPublished = markPublished
  })
  return state
}

describe.each(dialects)('a relay on %s whose database takes no marks', (dialect) => {
  const ground = outboxGround(dialect)
  let told: string[]
  beforeEach(() => {
    told = []
  })
  const listen = (relay: Relay) => {
    relay.on('paused', ({ cause, error }) => told.push(`paused ${cause}: ${error.message}`))
    relay.on('resumed', ({ cause }) => told.push(`resumed ${cause}`))
    relay.on('published', ({ events }) => told.push(`published ${events.map(({ payload }) => payload)}`))
  }
  const paused = 'paused database: permission denied for table domain_events'

  test('is paused from the first one on, says so once, and goes on when they are taken again', async () => {
    const { bench } = ground
    const marks = failMarks()
    const seen: unknown[] = []
    const publish: PublishFunction = ({ payload }) => void seen.push(payload)
    const relay = bench.outbox.relay({ publisher: publish, pollInterval: { min: 5, max: 50 } })
    listen(relay)
    await bench.record('a', [1])
    await relay.start()
    await expect.poll(() => relay.status().paused?.cause, { timeout: 20_000 }).toBe('database')
    await bench.record('b', [2])
    await expect.poll(() => marks.tries, { timeout: 20_000 }).toBeGreaterThan(3)
    expect(told).toEqual([paused])
    expect(bench.logger.warnings.map(({ message }) => message)).toEqual([expect.stringContaining('is paused: its database')])
    expect(relay.status().buckets).toHaveLength(64)
    marks.fails = false
    await expect.poll(() => relay.status().published, { timeout: 20_000 }).toBe(2)
    expect(relay.status().paused).toBeUndefined()
    expect(told).toEqual([paused, 'resumed database', 'published 1', 'published 2'])
    expect(seen).toEqual([1, 2])
    await relay.stop()
  })

  test('tells each pause once where it gives a mark up and its steps go on', { timeout: 60_000 }, async () => {
    const { bench } = ground
    const marks = failMarks()
    const relay = bench.outbox.relay({ publisher: () => {}, pollInterval: { min: 5, max: 50 } })
    listen(relay)
    await bench.record('a', [1])
    await relay.start()
    await expect.poll(() => told, { timeout: 20_000 }).toEqual([paused])
    // As another relay does that takes this one for dead: its mark is not worth a further try.
    await bench.sql("update outbox_leases set owner = '0193a2b4-0000-7000-8000-000000000001', epoch = epoch + 1")
    await bench.sql(`update outbox_relays set expires_at = ${dialect === 'postgresql' ? "now() - interval '1 hour'" : '0'}`)
    await expect.poll(() => relay.status().inHand, { timeout: 40_000 }).toBe(0)
    await expect.poll(() => relay.status().paused, { timeout: 20_000 }).toBeUndefined()
    marks.fails = false
    expect(told).toEqual([paused, 'resumed database'])
    await relay.stop()
  })

  test('ends a drain with its error after some tries, and what it could not mark comes again', async () => {
    const { bench } = ground
    const marks = failMarks()
    const seen: unknown[] = []
    await bench.record('a', [1])
    const relay = bench.outbox.relay({ publisher: ({ payload }) => void seen.push(payload) })
    listen(relay)
    await expect(relay.drain()).rejects.toThrow('permission denied for table domain_events')
    expect(marks.tries).toBeGreaterThan(3)
    expect(told).toEqual([paused])
    marks.fails = false
    expect(await relay.drain()).toEqual({ published: 1, retried: 0, deadLettered: 0 })
    expect(told).toEqual([paused, 'resumed database', 'published 1'])
    expect(seen).toEqual([1, 1])
  })
})
