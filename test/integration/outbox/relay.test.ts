import { describe, expect, test } from 'vitest'
import type { OutboxEvent } from '../../../src/outbox/publishing/publisher.ts'
import { dialects } from '../../support/databases.ts'
import { relayGround, until } from '../../support/relay-ground.ts'

const timing = { publishTimeout: 200, lease: 1000, pollInterval: { min: 5, max: 50 } }

describe.each(dialects)('a relay on %s', (dialect) => {
  const ground = relayGround(dialect)
  const { seen, collect, payloads } = ground

  test('drain publishes what is pending, in order, marks it, and counts it', async () => {
    const ids = await ground.bench.record('a', [1, 2, 3], { headers: { tenant: 't' } })
    expect(await ground.bench.outbox.relay({ publisher: collect }).drain()).toEqual({ published: 3, retried: 0, deadLettered: 0 })
    expect(seen.map((event) => event.id)).toEqual(ids)
    expect(seen[0]).toMatchObject({
      type: 'NoteTagged',
      aggregateType: 'Note',
      aggregateId: 'a',
      payload: 1,
      payloadJson: '1',
      orderingKey: 'Note:a',
      schemaVersion: 1,
      headers: { tenant: 't' },
      attempt: 1,
    })
    expect(seen[0]?.createdAt.getTime()).toBeGreaterThan(Date.now() - 60_000)
    expect((await ground.bench.rows()).map((row) => row.status)).toEqual(['published', 'published', 'published'])
    const [row] = await ground.bench.sql<{ n: number | string }>(
      'select count(*) as n from domain_events where published_at is null',
    )
    expect(Number(row?.n)).toBe(0)
    expect(await ground.bench.outbox.relay({ publisher: collect }).drain()).toEqual({ published: 0, retried: 0, deadLettered: 0 })
    expect(seen).toHaveLength(3)
  })

  test('with retention delete, published rows are gone', async () => {
    await ground.bench.record('a', [1, 2])
    await ground.bench.outbox.relay({ publisher: collect, retention: 'delete' }).drain()
    expect(payloads()).toEqual([1, 2])
    expect(await ground.bench.rows()).toEqual([])
  })

  test('a sequence number is given once, also when all rows before are gone', async () => {
    const sequences: bigint[] = []
    for (let round = 0; round < 3; round++) {
      await ground.bench.record('a', [1, 2])
      await ground.bench.outbox.relay({ publisher: ({ sequence }) => void sequences.push(sequence), retention: 'delete' }).drain()
    }
    expect(await ground.bench.rows()).toEqual([])
    expect(sequences).toEqual([1n, 2n, 3n, 4n, 5n, 6n])
  })

  test('many keys and batches keep the order of each key', async () => {
    for (let round = 0; round < 10; round++) {
      await ground.bench.data.unitOfWork(async () => {
        for (let key = 0; key < 30; key++) await ground.bench.record(`k${key}`, [round * 2, round * 2 + 1])
      })
    }
    await ground.bench.outbox.relay({ publisher: collect, batchSize: 37 }).drain()
    expect(seen).toHaveLength(600)
    for (let key = 0; key < 30; key++) {
      const own = seen.filter((event) => event.aggregateId === `k${key}`).map((event) => event.payload)
      expect(own).toEqual(Array.from({ length: 20 }, (_, index) => index))
    }
  })

  test('what was read ahead comes before a delayed event of its key, also when it is drained', async () => {
    await ground.bench.record('x', ['x1', 'x2'])
    await ground.bench.record('a', ['a1'])
    await ground.bench.record('a', ['a2'], { availableAt: new Date(Date.now() + 600_000) })
    await ground.bench.outbox.relay({ publisher: collect, batchSize: 2 }).drain()
    expect(payloads()).toEqual(['x1', 'x2', 'a1'])
  })

  test('a batch is marked while the next is published, and a stop waits for both', async () => {
    await ground.bench.record('a', [1, 2, 3, 4, 5, 6])
    const gate = Promise.withResolvers<void>()
    const publisher = async (event: OutboxEvent) => {
      if (event.payload === 4) await gate.promise
      seen.push(event)
    }
    const relay = ground.bench.outbox.relay({ publisher, batchSize: 2 })
    await relay.start()
    const statuses = async () => (await ground.bench.rows()).map(({ status }) => status)
    await until(async () => (await statuses()).filter((status) => status === 'published').length === 2)
    await until(() => relay.status().inHand === 2 && seen.length === 3)
    const stopped = relay.stop()
    gate.resolve()
    await stopped
    expect(payloads()).toEqual([1, 2, 3, 4])
    expect(await statuses()).toEqual(['published', 'published', 'published', 'published', 'pending', 'pending'])
    expect(relay.status()).toMatchObject({ inHand: 0, published: 4 })
  })

  test('a delayed event holds back its key until its time, and no other', async () => {
    await ground.bench.record('a', [1], { availableAt: new Date(Date.now() + 300) })
    await ground.bench.record('a', [2])
    await ground.bench.record('b', [3])
    await ground.bench.record('c', [4], { orderingKey: null, availableAt: new Date(Date.now() + 200) })
    await ground.bench.record('c', [5], { orderingKey: null })
    const relay = ground.bench.outbox.relay({ publisher: collect, ...timing })
    await relay.start()
    await until(() => seen.length === 5)
    await relay.stop()
    expect(payloads().slice(0, 2).sort()).toEqual([3, 5])
    expect(payloads().filter((payload) => payload === 1 || payload === 2)).toEqual([1, 2])
  })
})
