import { setTimeout as delay } from 'node:timers/promises'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { placeKey } from '../../../src/outbox/event/ordering-key.ts'
import { unavailable } from '../../../src/outbox/publishing/publisher.ts'
import type { Relay } from '../../../src/outbox/relay/relay.ts'
import { EventStore } from '../../../src/outbox/store/event-store.ts'
import { ProgressStore } from '../../../src/outbox/store/progress-store.ts'
import { dialects } from '../../support/databases.ts'
import { outboxGround } from '../../support/outbox-ground.ts'

describe.each(dialects)('a relay on %s', (dialect) => {
  const ground = outboxGround(dialect)
  let told: string[]
  beforeEach(() => {
    told = []
  })
  const listen = (relay: Relay) => {
    relay.on('paused', ({ cause }) => told.push(`paused ${cause}`))
    relay.on('resumed', ({ cause }) => told.push(`resumed ${cause}`))
    relay.on('deadLettered', () => told.push('dead'))
  }

  test('that was stopped while its publisher was away tells that it is back when it publishes', async () => {
    let away = true
    const relay = ground.bench.outbox.relay({
      publisher: () => {
        if (away) throw unavailable(new Error('away'))
      },
    })
    listen(relay)
    await ground.bench.record('a', [1])
    await relay.start()
    await expect.poll(() => relay.status().paused?.cause).toBe('publisher')
    await relay.stop()
    away = false
    await relay.start()
    expect(relay.status().paused).toBeUndefined()
    await expect.poll(() => relay.status().published).toBe(1)
    await relay.stop()
    await relay.start()
    expect(told).toEqual(['paused publisher', 'resumed publisher'])
    await relay.stop()
  })

  test('that was stopped while its database was away tells that it is back when it starts', async () => {
    const { noteInFlight } = ProgressStore.prototype
    let away = true
    ProgressStore.prototype.noteInFlight = async function (...args) {
      if (away) throw new Error('Connection terminated unexpectedly')
      return noteInFlight.apply(this, args)
    }
    const { fetchNoting } = EventStore.prototype
    EventStore.prototype.fetchNoting = async function (...args) {
      if (away) throw new Error('Connection terminated unexpectedly')
      return fetchNoting.apply(this, args)
    }
    onTestFinished(() => {
      ProgressStore.prototype.noteInFlight = noteInFlight
      EventStore.prototype.fetchNoting = fetchNoting
    })
    const relay = ground.bench.outbox.relay({ publisher: () => {} })
    listen(relay)
    await ground.bench.record('a', [1])
    await relay.start()
    await expect.poll(() => relay.status().paused?.cause).toBe('database')
    await relay.stop()
    away = false
    await relay.start()
    expect(told).toEqual(['paused database', 'resumed database'])
    await relay.stop()
  })

  test('tells the end of its pause where another relay has published what it waited with', { timeout: 60_000 }, async () => {
    const beside = await ground.openBeside()
    onTestFinished(() => beside.close())
    let away = true
    function hooks() {
      if (away) throw unavailable(new Error('away'))
    }
    const timing = { publisher: hooks, pollInterval: { min: 5, max: 50 } }
    const relay = ground.bench.outbox.relay(timing)
    const other = beside.outbox.relay(timing)
    listen(relay)
    // Of a bucket that the relay hands over to the second one.
    const key = Array.from({ length: 1000 }, (_, n) => `k${n}`).find((name) => placeKey(`Note:${name}`).bucket >= 32) as string
    await relay.start()
    await ground.bench.record(key, [1])
    await expect.poll(() => told, { timeout: 20_000 }).toEqual(['paused publisher'])
    await other.start()
    await expect.poll(() => other.status().paused?.cause, { timeout: 20_000 }).toBe('publisher')
    away = false
    await expect.poll(() => other.status().published, { timeout: 20_000 }).toBe(1)
    await expect.poll(() => relay.status().paused, { timeout: 20_000 }).toBeUndefined()
    expect(told).toEqual(['paused publisher', 'resumed publisher'])
    // It is not back for this one before it has published: each try is a single event, and a new pause is told.
    away = true
    await ground.bench.record('a', [2])
    await ground.bench.record('b', [3])
    await expect.poll(() => told.length + Number(other.status().paused !== undefined), { timeout: 20_000 }).toBeGreaterThan(2)
    away = false
    await expect.poll(() => relay.status().published + other.status().published, { timeout: 20_000 }).toBe(3)
    await relay.stop()
    await other.stop()
  })

  test('does not take its publisher for back since a row could not be read', async () => {
    const relay = ground.bench.outbox.relay({
      publisher: () => {
        throw unavailable(new Error('away'))
      },
    })
    listen(relay)
    await ground.bench.record('a', [1])
    await relay.start()
    await expect.poll(() => told).toEqual(['paused publisher'])
    await ground.bench.sql('update domain_events set sequence = 1000')
    await ground.bench.record('b', [2])
    await ground.bench.sql(
      `update domain_events set event_type = 'NoteWritten', payload = '{"title": ""}' where aggregate_id = 'b'`,
    )
    await expect.poll(() => told, { timeout: 5000 }).toEqual(['paused publisher', 'dead'])
    await delay(1200)
    expect(told).toEqual(['paused publisher', 'dead'])
    await relay.stop()
  })
})
