import { describe, expect, test } from 'vitest'
import { type OutboxEvent, type Publisher, permanent, unavailable } from '../../../src/outbox/publishing/publisher.ts'
import type { RelayEvents } from '../../../src/outbox/relay/relay-events.ts'
import { dialects } from '../../support/databases.ts'
import { relayGround, until } from '../../support/relay-ground.ts'

const retry = { attempts: 3, baseMs: 1, maxMs: 5 }
const timing = { publishTimeout: 200, lease: 1000, pollInterval: { min: 5, max: 50 } }

describe.each(dialects)('what fails in a relay on %s', (dialect) => {
  const ground = relayGround(dialect)
  const { seen, collect, payloads } = ground

  test('an event that fails is tried again, and the later ones of its key wait for it', async () => {
    await ground.bench.record('a', [1, 2, 3])
    await ground.bench.record('b', [4])
    let failures = 2
    const told: RelayEvents['retried'][] = []
    const relay = ground.bench.outbox.relay({
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
    for (const round of [1, 2, 3]) for (const key of ['a', 'b', 'c', 'd']) await ground.bench.record(key, [`${key}${round}`])
    let failures = 1
    const publisher = async (event: OutboxEvent) => {
      if (event.payload === 'a1' && failures-- > 0) {
        // Longer than a fetch takes by far.
        await new Promise((resolve) => setTimeout(resolve, 300))
        throw new Error('not now')
      }
      seen.push(event)
    }
    const relay = ground.bench.outbox.relay({ publisher, batchSize: 4, ...timing, publishTimeout: 3000, lease: 15_000, retry })
    await relay.start()
    await until(() => seen.length === 12)
    await relay.stop()
    for (const key of ['a', 'b', 'c', 'd']) {
      expect(payloads().filter((payload) => String(payload).startsWith(key))).toEqual([1, 2, 3].map((round) => `${key}${round}`))
    }
    expect(relay.status()).toMatchObject({ published: 12, retried: 1 })
    expect((await ground.bench.rows()).every(({ status }) => status === 'published')).toBe(true)
  })

  test.each(['that fails', 'that finds its publisher away'])(
    'behind an event %s, none overtakes one that was read with it',
    async (how) => {
      await ground.bench.record('a', ['a1'])
      await ground.bench.record('a', ['a2', 'a3'])
      await ground.bench.record('b', ['b1'])
      await ground.bench.record('b', ['b2'], { availableAt: new Date(Date.now() + 2500) })
      let failures = 1
      const publisher = async (event: OutboxEvent) => {
        if (event.payload === 'a1' && failures-- > 0) {
          // Longer than a fetch takes by far.
          await new Promise((resolve) => setTimeout(resolve, 200))
          throw how === 'that fails' ? new Error('not now') : unavailable(new Error('away'))
        }
        seen.push(event)
      }
      const relay = ground.bench.outbox.relay({ publisher, batchSize: 3, retry })
      await relay.start()
      await until(() => seen.length === 5)
      await relay.stop()
      expect(payloads().filter((payload) => String(payload).startsWith('a'))).toEqual(['a1', 'a2', 'a3'])
      expect(payloads().filter((payload) => String(payload).startsWith('b'))).toEqual(['b1', 'b2'])
    },
  )

  test('what waits for its next try is noted as in hand no more', async () => {
    await ground.bench.record('a', [0])
    const notes: (string | undefined)[] = []
    const note = async () => {
      const [row] = await ground.bench.sql<{ note: string }>('select cast(in_flight as text) as note from outbox_progress')
      return row?.note
    }
    const relay = ground.bench.outbox.relay({
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
    const [row] = await ground.bench.sql<{ sequence: string }>('select cast(sequence as text) as sequence from domain_events')
    expect(notes.at(-1)).toBe(`["${row?.sequence}"]`)
  })

  test('an event out of attempts becomes a dead letter with its history, and its key goes on', async () => {
    const ids = await ground.bench.record('a', [1, 2, 3])
    const relay = ground.bench.outbox.relay({
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
    expect((await ground.bench.rows()).map((row) => row.id)).toEqual([ids[0], ids[2]])
    const [letter] = await ground.bench.sql<{ id: string; history: unknown; payload: unknown }>(
      'select id, cast(history as text) as history, cast(payload as text) as payload from outbox_dead_letters',
    )
    expect(letter).toMatchObject({ id: ids[1], payload: '2' })
    expect(JSON.parse(String(letter?.history))).toMatchObject([
      { attempt: 1, error: 'Error: no 1' },
      { attempt: 2, error: 'Error: no 2' },
      { attempt: 3, error: 'Error: no 3' },
    ])
    expect(await ground.bench.sql('select 1 from outbox_failures')).toEqual([])
  })

  test('a permanent failure is a dead letter at once, and may block its key, also for the next relay', async () => {
    await ground.bench.record('a', [1, 2, 3])
    await ground.bench.record('b', [4])
    const publisher = (event: OutboxEvent) => {
      if (event.payload === 1) throw permanent(new Error('never'))
      seen.push(event)
    }
    const counts = await ground.bench.outbox.relay({ publisher, onDeadLetter: { NoteTagged: 'block-key' } }).drain()
    expect(counts).toEqual({ published: 1, retried: 0, deadLettered: 1 })
    await ground.bench.outbox.relay({ publisher }).drain()
    expect(payloads()).toEqual([4])
    await ground.bench.sql('delete from outbox_dead_letters')
    await ground.bench.outbox.relay({ publisher }).drain()
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
    for (const key of ['a', 'b', 'c']) await ground.bench.record(key, [key])
    const relay = ground.bench.outbox.relay({ publisher, ...timing })
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
    expect((await ground.bench.rows()).every((row) => row.attempts === 0 && row.status === 'published')).toBe(true)
  })

  test('drain gives up with a clear error when the publisher stays away', async () => {
    await ground.bench.record('a', [1])
    const publisher = () => {
      throw unavailable(new Error('connection refused'))
    }
    await expect(ground.bench.outbox.relay({ publisher }).drain()).rejects.toMatchObject({ code: 'PUBLISHER_FAILED' })
    expect((await ground.bench.rows())[0]).toMatchObject({ status: 'pending', attempts: 0 })
  })

  test('a publisher that hangs is cut off at its timeout, and the event is tried again', async () => {
    await ground.bench.record('a', [1, 2])
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
    const relay = ground.bench.outbox.relay({ publisher, retry, ...timing, publishTimeout: 50 })
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
    await ground.bench.record('a', [1, 2, 3])
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
    const relay = ground.bench.outbox.relay({ publisher, retry: { ...retry, attempts: 10 }, ...timing })
    const codes: unknown[] = []
    relay.on('retried', ({ error }) => codes.push((error as { code?: string }).code))
    await relay.start()
    await until(() => seen.length === 3)
    await relay.stop()
    expect(payloads()).toEqual([1, 2, 3])
    expect(codes).toEqual([...Array(4).fill('PUBLISHER_INVALID_OUTCOME'), undefined])
  })

  test('a row that cannot be decoded is a dead letter, not a crash', async () => {
    const [first] = await ground.bench.record('a', [1])
    await ground.bench.record('a', [2])
    await ground.bench.sql(`update domain_events set event_type = 'NoteWritten' where id = ?`, [first])
    expect(await ground.bench.outbox.relay({ publisher: collect }).drain()).toMatchObject({ published: 1, deadLettered: 1 })
    const [letter] = await ground.bench.sql<{ error: string; reason: string }>('select error, reason from outbox_dead_letters')
    expect(letter?.reason).toBe('permanent')
    expect(letter?.error).toContain('EVENT_PAYLOAD_REFUSED')
  })
})
