import { AsyncLocalStorage } from 'node:async_hooks'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type OutboxEvent, type Publisher, permanent, unavailable } from '../../../src/outbox/publishing/publisher.ts'
import type { RelayEvents } from '../../../src/outbox/relay/relay-events.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../../support/databases.ts'
import { type OutboxUnderTest, openOutbox } from '../../support/outbox-bench.ts'

const retry = { attempts: 3, baseMs: 1, maxMs: 5 }
const timing = { publishTimeout: 200, lease: 1000, pollInterval: { min: 5, max: 50 } }

function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  return expect
    .poll(condition, { interval: 5, timeout: 10_000 })
    .toBe(true)
    .then(() => {})
}

describe.each(dialects)('a relay on %s', (dialect) => {
  let database: TestDatabase
  let bench: OutboxUnderTest
  let seen: OutboxEvent[]
  const collect = (event: OutboxEvent) => void seen.push(event)
  const payloads = () => seen.map((event) => event.payload)

  beforeEach(async () => {
    seen = []
    database = await openTestDatabase(dialect)
    bench = await openOutbox(database.url)
  })
  afterEach(async () => {
    await bench.close()
    await database.close()
  })

  test('drain publishes what is pending, in order, marks it, and counts it', async () => {
    const ids = await bench.record('a', [1, 2, 3], { headers: { tenant: 't' } })
    expect(await bench.outbox.relay({ publisher: collect }).drain()).toEqual({ published: 3, retried: 0, deadLettered: 0 })
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
    expect((await bench.rows()).map((row) => row.status)).toEqual(['published', 'published', 'published'])
    const [row] = await bench.sql<{ n: number | string }>('select count(*) as n from domain_events where published_at is null')
    expect(Number(row?.n)).toBe(0)
    expect(await bench.outbox.relay({ publisher: collect }).drain()).toEqual({ published: 0, retried: 0, deadLettered: 0 })
    expect(seen).toHaveLength(3)
  })

  test('with retention delete, published rows are gone', async () => {
    await bench.record('a', [1, 2])
    await bench.outbox.relay({ publisher: collect, retention: 'delete' }).drain()
    expect(payloads()).toEqual([1, 2])
    expect(await bench.rows()).toEqual([])
  })

  test('a sequence number is given once, also when all rows before are gone', async () => {
    const sequences: bigint[] = []
    for (let round = 0; round < 3; round++) {
      await bench.record('a', [1, 2])
      await bench.outbox.relay({ publisher: ({ sequence }) => void sequences.push(sequence), retention: 'delete' }).drain()
    }
    expect(await bench.rows()).toEqual([])
    expect(sequences).toEqual([1n, 2n, 3n, 4n, 5n, 6n])
  })

  test('many keys and batches keep the order of each key', async () => {
    for (let round = 0; round < 10; round++) {
      await bench.data.unitOfWork(async () => {
        for (let key = 0; key < 30; key++) await bench.record(`k${key}`, [round * 2, round * 2 + 1])
      })
    }
    await bench.outbox.relay({ publisher: collect, batchSize: 37 }).drain()
    expect(seen).toHaveLength(600)
    for (let key = 0; key < 30; key++) {
      const own = seen.filter((event) => event.aggregateId === `k${key}`).map((event) => event.payload)
      expect(own).toEqual(Array.from({ length: 20 }, (_, index) => index))
    }
  })

  test('an event that fails is tried again, and the later ones of its key wait for it', async () => {
    await bench.record('a', [1, 2, 3])
    await bench.record('b', [4])
    let failures = 2
    const told: RelayEvents['retried'][] = []
    const relay = bench.outbox.relay({
      publisher: (event: OutboxEvent) => {
        if (event.payload === 2 && failures-- > 0) throw new Error('not now')
        seen.push(event)
      },
      retry,
      ...timing,
    })
    relay.on('retried', (event) => told.push(event))
    await relay.start()
    await until(() => seen.length === 4)
    await relay.stop()
    expect(payloads().filter((payload) => payload !== 4)).toEqual([1, 2, 3])
    expect(payloads().indexOf(4)).toBeLessThan(3)
    expect(seen.find((event) => event.payload === 2)?.attempt).toBe(3)
    expect(told.map((event) => event.attempts)).toEqual([1, 2])
    expect(relay.status()).toMatchObject({ published: 4, retried: 2, deadLettered: 0, state: 'stopped' })
  })

  test('an event that fails after the next batch was read holds back those of its key in it', async () => {
    for (const round of [1, 2, 3]) for (const key of ['a', 'b', 'c', 'd']) await bench.record(key, [`${key}${round}`])
    let failures = 1
    const publisher = async (event: OutboxEvent) => {
      if (event.payload === 'a1' && failures-- > 0) {
        // Longer than a fetch takes by far.
        await new Promise((resolve) => setTimeout(resolve, 300))
        throw new Error('not now')
      }
      seen.push(event)
    }
    const relay = bench.outbox.relay({ publisher, batchSize: 4, ...timing, publishTimeout: 3000, lease: 15_000, retry })
    await relay.start()
    await until(() => seen.length === 12)
    await relay.stop()
    for (const key of ['a', 'b', 'c', 'd']) {
      expect(payloads().filter((payload) => String(payload).startsWith(key))).toEqual([1, 2, 3].map((round) => `${key}${round}`))
    }
    expect(relay.status()).toMatchObject({ published: 12, retried: 1 })
    expect((await bench.rows()).every(({ status }) => status === 'published')).toBe(true)
  })

  test('what was read ahead comes before a delayed event of its key, also when it is drained', async () => {
    await bench.record('x', ['x1', 'x2'])
    await bench.record('a', ['a1'])
    await bench.record('a', ['a2'], { availableAt: new Date(Date.now() + 600_000) })
    await bench.outbox.relay({ publisher: collect, batchSize: 2 }).drain()
    expect(payloads()).toEqual(['x1', 'x2', 'a1'])
  })

  test.each(['that fails', 'that finds its publisher away'])(
    'behind an event %s, none overtakes one that was read with it',
    async (how) => {
      await bench.record('a', ['a1'])
      await bench.record('a', ['a2', 'a3'])
      await bench.record('b', ['b1'])
      await bench.record('b', ['b2'], { availableAt: new Date(Date.now() + 2500) })
      let failures = 1
      const publisher = async (event: OutboxEvent) => {
        if (event.payload === 'a1' && failures-- > 0) {
          // Longer than a fetch takes by far.
          await new Promise((resolve) => setTimeout(resolve, 200))
          throw how === 'that fails' ? new Error('not now') : unavailable(new Error('away'))
        }
        seen.push(event)
      }
      const relay = bench.outbox.relay({ publisher, batchSize: 3, retry })
      await relay.start()
      await until(() => seen.length === 5)
      await relay.stop()
      expect(payloads().filter((payload) => String(payload).startsWith('a'))).toEqual(['a1', 'a2', 'a3'])
      expect(payloads().filter((payload) => String(payload).startsWith('b'))).toEqual(['b1', 'b2'])
    },
  )

  test('a batch is marked while the next is published, and a stop waits for both', async () => {
    await bench.record('a', [1, 2, 3, 4, 5, 6])
    const gate = Promise.withResolvers<void>()
    const publisher = async (event: OutboxEvent) => {
      if (event.payload === 4) await gate.promise
      seen.push(event)
    }
    const relay = bench.outbox.relay({ publisher, batchSize: 2 })
    await relay.start()
    const statuses = async () => (await bench.rows()).map(({ status }) => status)
    await until(async () => (await statuses()).filter((status) => status === 'published').length === 2)
    await until(() => relay.status().inHand === 2 && seen.length === 3)
    const stopped = relay.stop()
    gate.resolve()
    await stopped
    expect(payloads()).toEqual([1, 2, 3, 4])
    expect(await statuses()).toEqual(['published', 'published', 'published', 'published', 'pending', 'pending'])
    expect(relay.status()).toMatchObject({ inHand: 0, published: 4 })
  })

  test('what waits for its next try is noted as in hand no more', async () => {
    await bench.record('a', [0])
    const notes: (string | undefined)[] = []
    const note = async () => {
      const [row] = await bench.sql<{ note: string }>('select cast(in_flight as text) as note from outbox_progress')
      return row?.note
    }
    const relay = bench.outbox.relay({
      publisher: {
        name: 'p',
        publish: async () => {
          notes.push(await note())
          throw new Error('not now')
        },
      },
      retry: { attempts: 3, baseMs: 3_600_000, maxMs: 3_600_000 },
    })
    await relay.start()
    await expect.poll(note, { timeout: 30_000 }).toBe('[]')
    await relay.stop()
    const [row] = await bench.sql<{ sequence: string }>('select cast(sequence as text) as sequence from domain_events')
    expect(notes.at(-1)).toBe(`["${row?.sequence}"]`)
  })

  test('an event out of attempts becomes a dead letter with its history, and its key goes on', async () => {
    const ids = await bench.record('a', [1, 2, 3])
    const relay = bench.outbox.relay({
      publisher: (event: OutboxEvent) => {
        if (event.payload === 2) throw new Error(`no ${event.attempt}`)
        seen.push(event)
      },
      retry,
      ...timing,
    })
    const letters: RelayEvents['deadLettered'][] = []
    relay.on('deadLettered', (event) => letters.push(event))
    await relay.start()
    await until(() => seen.length === 2)
    await relay.stop()
    expect(payloads()).toEqual([1, 3])
    expect(letters).toMatchObject([{ eventId: ids[1], attempts: 3, reason: 'exhausted', blocksKey: false }])
    expect((await bench.rows()).map((row) => row.id)).toEqual([ids[0], ids[2]])
    const [letter] = await bench.sql<{ id: string; history: unknown; payload: unknown }>(
      'select id, cast(history as text) as history, cast(payload as text) as payload from outbox_dead_letters',
    )
    expect(letter).toMatchObject({ id: ids[1], payload: '2' })
    expect(JSON.parse(String(letter?.history))).toMatchObject([
      { attempt: 1, error: 'Error: no 1' },
      { attempt: 2, error: 'Error: no 2' },
      { attempt: 3, error: 'Error: no 3' },
    ])
    expect(await bench.sql('select 1 from outbox_failures')).toEqual([])
  })

  test('a permanent failure is a dead letter at once, and may block its key, also for the next relay', async () => {
    await bench.record('a', [1, 2, 3])
    await bench.record('b', [4])
    const publisher = (event: OutboxEvent) => {
      if (event.payload === 1) throw permanent(new Error('never'))
      seen.push(event)
    }
    const counts = await bench.outbox.relay({ publisher, onDeadLetter: { NoteTagged: 'block-key' } }).drain()
    expect(counts).toEqual({ published: 1, retried: 0, deadLettered: 1 })
    await bench.outbox.relay({ publisher }).drain()
    expect(payloads()).toEqual([4])
    await bench.sql('delete from outbox_dead_letters')
    await bench.outbox.relay({ publisher }).drain()
    expect(payloads()).toEqual([4, 2, 3])
  })

  test('an outage pauses everything, spends no attempt, and ends with a single probe', async () => {
    let away = true
    const calls: number[] = []
    const publisher: Publisher = {
      name: 'flaky',
      publish: async (events) => {
        calls.push(events.length)
        if (away) return events.map(() => ({ status: 'unavailable', error: new Error('gone') }))
        seen.push(...events)
        return events.map(() => ({ status: 'published' }))
      },
    }
    for (const key of ['a', 'b', 'c']) await bench.record(key, [key])
    const relay = bench.outbox.relay({ publisher, ...timing })
    const told: string[] = []
    relay.on('paused', ({ cause }) => told.push(`paused ${cause}`))
    relay.on('resumed', ({ cause }) => told.push(`resumed ${cause}`))
    await relay.start()
    await until(() => calls.length === 2)
    expect(relay.status().paused).toMatchObject({ cause: 'publisher', error: 'Error: gone' })
    away = false
    await until(() => seen.length === 3)
    await relay.stop()
    expect(calls).toEqual([3, 1, 1, 2])
    expect(told).toEqual(['paused publisher', 'resumed publisher'])
    expect((await bench.rows()).every((row) => row.attempts === 0 && row.status === 'published')).toBe(true)
  })

  test('drain gives up with a clear error when the publisher stays away', async () => {
    await bench.record('a', [1])
    const publisher = () => {
      throw unavailable(new Error('connection refused'))
    }
    await expect(bench.outbox.relay({ publisher }).drain()).rejects.toMatchObject({ code: 'PUBLISHER_FAILED' })
    expect((await bench.rows())[0]).toMatchObject({ status: 'pending', attempts: 0 })
  })

  test('a publisher that hangs is cut off at its timeout, and the event is tried again', async () => {
    await bench.record('a', [1, 2])
    let hang = true
    const signals: AbortSignal[] = []
    const publisher: Publisher = {
      name: 'hanging',
      publish: async (events, { signal }) => {
        if (hang) {
          hang = false
          signals.push(signal)
          return new Promise(() => {})
        }
        seen.push(...events)
        return events.map(() => ({ status: 'published' }))
      },
    }
    const relay = bench.outbox.relay({ publisher, retry, ...timing, publishTimeout: 50 })
    const errors: unknown[] = []
    relay.on('retried', ({ error }) => errors.push(error))
    await relay.start()
    await until(() => seen.length === 2)
    await relay.stop()
    expect(signals[0]?.aborted).toBe(true)
    expect(errors).toMatchObject([{ code: 'PUBLISHER_TIMEOUT' }])
    expect(payloads()).toEqual([1, 2])
  })

  test('a publisher that returns garbage, or throws, loses nothing and breaks no order', async () => {
    await bench.record('a', [1, 2, 3])
    const answers: unknown[] = [undefined, [], [{ status: 'ok' }], [{ status: 'published' }, { status: 'published' }], 'boom']
    const publisher: Publisher = {
      name: 'garbage',
      publish: async (events) => {
        if (answers.length > 0) {
          const answer = answers.shift()
          if (answer === 'boom') throw new Error('boom')
          return answer as never
        }
        seen.push(...events)
        return events.map(() => ({ status: 'published' }))
      },
    }
    const relay = bench.outbox.relay({ publisher, retry: { ...retry, attempts: 10 }, ...timing })
    const codes: unknown[] = []
    relay.on('retried', ({ error }) => codes.push((error as { code?: string }).code))
    await relay.start()
    await until(() => seen.length === 3)
    await relay.stop()
    expect(payloads()).toEqual([1, 2, 3])
    expect(codes).toEqual([...Array(4).fill('PUBLISHER_INVALID_OUTCOME'), undefined])
  })

  test('a row that cannot be decoded is a dead letter, not a crash', async () => {
    const [first] = await bench.record('a', [1])
    await bench.record('a', [2])
    await bench.sql(`update domain_events set event_type = 'NoteWritten' where id = ?`, [first])
    expect(await bench.outbox.relay({ publisher: collect }).drain()).toMatchObject({ published: 1, deadLettered: 1 })
    const [letter] = await bench.sql<{ error: string; reason: string }>('select error, reason from outbox_dead_letters')
    expect(letter?.reason).toBe('permanent')
    expect(letter?.error).toContain('EVENT_PAYLOAD_REFUSED')
  })

  test('a delayed event holds back its key until its time, and no other', async () => {
    await bench.record('a', [1], { availableAt: new Date(Date.now() + 300) })
    await bench.record('a', [2])
    await bench.record('b', [3])
    await bench.record('c', [4], { orderingKey: null, availableAt: new Date(Date.now() + 200) })
    await bench.record('c', [5], { orderingKey: null })
    const relay = bench.outbox.relay({ publisher: collect, ...timing })
    await relay.start()
    await until(() => seen.length === 5)
    await relay.stop()
    expect(payloads().slice(0, 2).sort()).toEqual([3, 5])
    expect(payloads().filter((payload) => payload === 1 || payload === 2)).toEqual([1, 2])
  })

  test('a commit wakes the relay of its process', async () => {
    const relay = bench.outbox.relay({ publisher: collect, pollInterval: { min: 60_000, max: 60_000 } })
    await relay.start()
    await bench.record('a', [1])
    await until(() => seen.length === 1)
    await bench.record('a', [2])
    await until(() => seen.length === 2)
    await relay.stop()
  })

  test('a second relay on one data access is refused, and may start when the first has stopped', async () => {
    const first = bench.outbox.relay({ publisher: collect, name: 'first' })
    const second = bench.outbox.relay({ publisher: collect })
    await first.start()
    await first.start()
    await expect(second.start()).rejects.toMatchObject({ code: 'RELAY_ALREADY_RUNNING' })
    await expect(first.drain()).rejects.toMatchObject({ code: 'RELAY_ALREADY_RUNNING' })
    await first.stop()
    await second.start()
    await second.stop()
    await first.start()
    await bench.record('a', [1])
    await until(() => seen.length === 1)
    await first.stop()
  })

  test('stop finishes the batch in hand, can come before the start, and twice', async () => {
    await bench.record('a', [1, 2])
    let release: () => void = () => {}
    const gate = new Promise<void>((resolve) => {
      release = resolve
    })
    const relay = bench.outbox.relay({
      publisher: async (event: OutboxEvent) => {
        if (event.payload === 1) await gate
        seen.push(event)
      },
    })
    await relay.stop()
    await relay.start()
    await until(() => relay.status().inHand === 2)
    const stopped = relay.stop()
    release()
    await stopped
    await relay.stop()
    expect(payloads()).toEqual([1, 2])
    expect((await bench.rows()).map((row) => row.status)).toEqual(['published', 'published'])
  })

  test('past its deadline, or at a second call, stop drops what is in hand without spending an attempt', async () => {
    await bench.record('a', [1])
    for (const impatient of [false, true]) {
      const relay = bench.outbox.relay({ publisher: () => new Promise(() => {}) })
      await relay.start()
      await until(() => relay.status().inHand === 1)
      const stopped = relay.stop({ deadline: impatient ? 60_000 : 20 })
      if (impatient) await relay.stop()
      await stopped
      expect((await bench.rows())[0]).toMatchObject({ status: 'pending', attempts: 0 })
    }
    await bench.outbox.relay({ publisher: collect }).drain()
    expect(payloads()).toEqual([1])
  })

  test('a relay knows nothing of the request that started it', async () => {
    const request = new AsyncLocalStorage<string>()
    const stores: unknown[] = []
    const relay = bench.outbox.relay({ publisher: () => void stores.push(request.getStore()) })
    await request.run('request', () => relay.start())
    await request.run('other', () => bench.record('a', [1]))
    await until(() => stores.length === 1)
    await relay.stop()
    await bench.record('a', [2])
    await request.run('third', () => bench.outbox.relay({ publisher: () => void stores.push(request.getStore()) }).drain())
    expect(stores).toEqual([undefined, undefined])
  })

  test('drain inside a transaction is refused instead of waiting for itself', async () => {
    const relay = bench.outbox.relay({ publisher: collect })
    await bench.data.unitOfWork(async () => {
      await expect(relay.drain()).rejects.toMatchObject({ code: 'TRANSACTION_FORK' })
    })
  })

  test('an aborted drain leaves what it did not publish', async () => {
    await bench.record('a', [1])
    await expect(
      bench.outbox.relay({ publisher: collect }).drain({ signal: AbortSignal.abort(new Error('enough')) }),
    ).rejects.toThrow('enough')
    expect(seen).toEqual([])
    await bench.outbox.relay({ publisher: collect }).drain()
    expect(payloads()).toEqual([1])
  })

  test('two relays one after the other publish everything once', async () => {
    await bench.record('a', [1, 2])
    await bench.outbox.relay({ publisher: collect }).drain()
    await bench.record('a', [3])
    await bench.outbox.relay({ publisher: collect }).drain()
    expect(payloads()).toEqual([1, 2, 3])
  })

  test('on tables of an older version says so, and works once they are migrated', async () => {
    await bench.sql('alter table outbox_relays drop column rates')
    await bench.sql("delete from mikro_orm_migrations where name like 'data-access-003%'")
    await bench.record('a', [1])
    for (const use of [() => bench.outbox.relay({ publisher: collect }).start(), () => bench.data.outbox.stats()]) {
      const missing = { code: 'MIGRATION_MISSING', message: expect.stringContaining('data.migrate()') }
      await expect(use()).rejects.toMatchObject(missing)
    }
    await bench.data.migrate()
    await bench.outbox.relay({ publisher: collect }).drain()
    expect(payloads()).toEqual([1])
  })

  test('options out of range are refused by name', () => {
    const bad = [
      { batchSize: 0 },
      { batchSize: 1.5 },
      { publishTimeout: Number.NaN },
      { publishTimeout: 20_000, lease: 30_000 },
      { pollInterval: { min: 100, max: 50 } },
      { name: '' },
      { retention: 'archive' },
      { onDeadLetter: 'explode' },
      { retry: { attempts: 0 } },
    ]
    for (const options of bad)
      expect(() => bench.outbox.relay({ publisher: collect, ...options } as never)).toThrow('OPTION_INVALID')
  })
})
