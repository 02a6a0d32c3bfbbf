import { describe, expect, test } from 'vitest'
import type { DeadLetter } from '../../../src/outbox/dead-letters.ts'
import { type OutboxEvent, permanent } from '../../../src/outbox/publishing/publisher.ts'
import { MemoryPublisher } from '../../../src/testing/memory-publisher.ts'
import { dialects } from '../../support/databases.ts'
import { letterGround } from '../../support/letter-ground.ts'
import { repeats } from '../../support/repeats.ts'

describe.each(dialects)('dead letters on %s', (dialect) => {
  const ground = letterGround(dialect)
  const { bad, drain } = ground

  test('whatever a publisher throws is told in words, in the table, the letters, the events and the log', async () => {
    const thrown: [unknown, string][] = [
      ['the broker is tired', 'Error: the broker is tired'],
      ['', 'Error: an empty string was thrown'],
      [undefined, 'Error: undefined was thrown'],
      [null, 'Error: null was thrown'],
      [Object.freeze({ code: 'E_QUOTA' }), 'Error: E_QUOTA: an object with code was thrown'],
      [Object.create(null), 'Error: an object with no properties was thrown'],
      [permanent(Object.freeze(new Error('frozen'))), 'Error: frozen'],
      ['half a character \ud83d', 'Error: half a character \ufffd'],
    ]
    // Each has a key of its own.
    for (const [index] of thrown.entries()) await ground.bench.record(`k${index}`, [index])
    const publish = ({ payload }: OutboxEvent) => {
      throw thrown[payload as number]?.[0]
    }
    const told: string[] = []
    for (const attempts of [1000, 1]) {
      const retry = { attempts, baseMs: 3_600_000, maxMs: 3_600_000 }
      const relay = ground.bench.outbox.relay({ publisher: publish, retry })
      relay.on('deadLettered', ({ eventId, error }) => told.push(`${eventId} ${error.message}`))
      await relay.drain()
      if (attempts === 1) continue
      const stored = (await ground.bench.rows()).map((row) => row.last_error)
      expect(stored.slice(0, 6)).toEqual(thrown.slice(0, 6).map(([, text]) => text))
      await ground.bench.sql('update domain_events set available_at = null')
    }
    const letters = await ground.bench.outbox.deadLetters.list()
    expect(new Set(letters.map(({ error }) => error))).toEqual(new Set(thrown.map(([, text]) => text)))
    for (const { error, history } of letters) expect(new Set(history.map((attempt) => attempt.error))).toEqual(new Set([error]))
    expect(told).toHaveLength(letters.length)
    expect(ground.bench.logger.errors.map(({ message }) => message)).toContainEqual(
      expect.stringContaining(': Error: null was thrown. See'),
    )
  })

  test('a letter is listed with everything that the event was', async () => {
    const [id] = await ground.bench.record('a', [1], { headers: { tenant: 't' } })
    await ground.bench.record('b', [2])
    await drain()
    const letters = await ground.bench.outbox.deadLetters.list()
    expect(letters).toMatchObject([
      {
        id,
        type: 'NoteTagged',
        aggregateType: 'Note',
        aggregateId: 'a',
        payloadJson: '1',
        headers: { tenant: 't' },
        orderingKey: 'Note:a',
        sequence: 1n,
        attempts: 1,
        reason: 'permanent',
        error: 'Error: no',
        history: [{ attempt: 1, error: 'Error: no', failedAt: expect.any(Date) }],
        blocksKey: false,
      },
    ])
    // As an endpoint for administrators answers.
    const [{ deadAt, createdAt, history, ...letter } = {} as DeadLetter] = letters
    expect(JSON.parse(JSON.stringify(letters[0]))).toEqual({
      ...letter,
      sequence: '1',
      deadAt: deadAt.toISOString(),
      createdAt: createdAt.toISOString(),
      history: history.map(({ failedAt, ...attempt }) => ({ ...attempt, failedAt: failedAt.toISOString() })),
    })
    expect(letters[0]?.deadAt.getTime()).toBeGreaterThan(Date.now() - 60_000)
    expect(await ground.bench.outbox.deadLetters.list({ aggregateId: 'b' })).toEqual([])
    expect(
      await ground.bench.outbox.deadLetters.list({ type: 'NoteTagged', orderingKey: 'Note:a', ids: [String(id)] }),
    ).toHaveLength(1)
  })

  test('a redriven letter that blocked its key comes first, with the same id and fresh attempts', async () => {
    const [id] = await ground.bench.record('a', [1, 2, 3])
    await drain('block-key')
    expect(ground.publisher.payloads).toEqual([])
    bad.clear()
    expect(await ground.bench.outbox.deadLetters.redrive({ ids: [String(id)] })).toBe(1)
    await drain()
    expect(ground.publisher.payloads).toEqual([1, 2, 3])
    expect(ground.publisher.published[0]).toMatchObject({ id, attempt: 1 })
    expect(await ground.bench.outbox.deadLetters.list()).toEqual([])
  })

  test('a running relay takes up a redriven letter, and goes on behind a discarded one', async () => {
    await ground.bench.record('a', [1, 2])
    await ground.bench.record('b', [1, 3])
    const relay = ground.bench.outbox.relay({
      publisher: ground.publisher,
      onDeadLetter: 'block-key',
      pollInterval: { min: 5, max: 20 },
    })
    await relay.start()
    await expect.poll(() => relay.status().deadLettered).toBe(2)
    bad.clear()
    await ground.bench.outbox.deadLetters.discard({ aggregateId: 'b' })
    await expect.poll(() => ground.publisher.payloads, { timeout: 5000 }).toEqual([3])
    await ground.bench.outbox.deadLetters.redrive({ aggregateId: 'a' })
    await expect.poll(() => ground.publisher.payloads, { timeout: 5000 }).toEqual([3, 1, 2])
    await relay.stop()
  })

  test.each(['a retry', 'a delay'] as const)(
    'a redriven letter is published before later events of its key that wait for %s',
    async (cause) => {
      await ground.bench.record('a', [1])
      const arrived: unknown[] = []
      const relay = ground.bench.outbox.relay({
        publisher: new MemoryPublisher((event) => {
          if (bad.has(event.payload)) return event.payload === 1 ? permanent(new Error('no')) : new Error('later')
          arrived.push(event.payload)
          return undefined
        }),
        retry: { attempts: 1000, baseMs: 60_000, maxMs: 60_000 },
        pollInterval: { min: 5, max: 20 },
      })
      await relay.start()
      await expect.poll(() => relay.status().deadLettered, { timeout: 10_000 }).toBe(1)
      // Its head waits for about a minute, or for ten.
      bad.add(2)
      await ground.bench.record('a', [2, 3], cause === 'a delay' ? { availableAt: new Date(Date.now() + 600_000) } : {})
      if (cause === 'a retry') await expect.poll(() => relay.status().retried, { timeout: 10_000 }).toBe(1)
      await ground.bench.record('b', [7])
      await expect.poll(() => arrived, { timeout: 10_000 }).toEqual([7])
      bad.clear()
      expect(await ground.bench.outbox.deadLetters.redrive({ aggregateId: 'a' })).toBe(1)
      await expect.poll(() => arrived.slice(0, 2), { timeout: 10_000 }).toEqual([7, 1])
      await relay.stop()
    },
  )

  test('letters that are redriven while their key is busy keep their place among what is pending', { repeats }, async () => {
    const count = 40
    const numbers = Array.from({ length: count }, (_, n) => n)
    const refused = new Set(numbers.filter((n) => n % 4 === 0))
    const held = new Set<unknown>()
    const seen: number[] = []
    const relay = ground.bench.outbox.relay({
      publisher: new MemoryPublisher((event) => {
        const payload = event.payload as number
        if (refused.has(payload)) return permanent(new Error('no'))
        if (held.has(payload)) return new Error('later')
        seen.push(payload)
        return undefined
      }),
      batchSize: 3,
      retry: { attempts: 1000, baseMs: 1, maxMs: 3 },
      pollInterval: { min: 1, max: 5 },
    })
    for (let from = 0; from < count; from += 20) {
      seen.length = 0
      held.add(from + 18)
      await ground.bench.record('busy', numbers.slice(from, from + 20))
      if (from === 0) await relay.start()
      // The head fails over and over; every letter before it is redriven, one after the other.
      await expect.poll(() => relay.status().deadLettered, { timeout: 20_000 }).toBe((from + 20) / 4)
      const retried = relay.status().retried
      await expect.poll(() => relay.status().retried, { timeout: 20_000 }).toBeGreaterThan(retried)
      const letters = await ground.bench.outbox.deadLetters.list()
      for (const { payloadJson } of letters) refused.delete(Number(payloadJson))
      const before = seen.length
      await ground.bench.outbox.deadLetters.redrive({ aggregateId: 'busy' })
      held.clear()
      await expect.poll(() => seen.length, { timeout: 20_000 }).toBe(20)
      // What came after the redrive: the letters and what was still pending, in the order of their key but for what was in hand.
      const rest = seen.slice(before).filter((payload) => payload !== from + 18)
      expect(rest).toEqual([...rest].sort((one, other) => one - other))
    }
    await relay.stop()
  })

  test('an empty filter is refused, since it would mean all', async () => {
    const { deadLetters } = ground.bench.outbox
    for (const filter of [{}, { ids: [] }, { type: undefined }, { type: 'Nothing', aggregateId: undefined }]) {
      await expect(deadLetters.redrive(filter as never)).rejects.toMatchObject({ code: 'OPTION_INVALID' })
      await expect(deadLetters.discard(filter as never)).rejects.toMatchObject({ code: 'OPTION_INVALID' })
    }
    expect(await deadLetters.discard({ type: 'Nothing' })).toBe(0)
    // To look at more than was meant does no harm.
    expect(await deadLetters.list({ type: 'Nothing', aggregateId: undefined } as never)).toEqual([])
  })

  test.each(['nope', '01A22961-6897-712C-BC24-200000000000'])('an id that is none, %s, is refused', async (id) => {
    const { deadLetters } = ground.bench.outbox
    for (const verb of ['list', 'redrive', 'discard'] as const) {
      await expect(deadLetters[verb]({ ids: [id] })).rejects.toMatchObject({
        code: 'ID_INVALID',
        message: expect.stringContaining(id),
      })
    }
  })
})
