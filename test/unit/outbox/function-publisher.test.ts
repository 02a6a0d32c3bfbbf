import { describe, expect, test } from 'vitest'
import { EventRecord } from '../../../src/outbox/publishing/event-record.ts'
import { toPublisher } from '../../../src/outbox/publishing/function-publisher.ts'
import {
  checkOutcomes,
  notBegun,
  type OutboxEvent,
  type Outcome,
  permanent,
  unavailable,
} from '../../../src/outbox/publishing/publisher.ts'

const event = (id: string): OutboxEvent =>
  new EventRecord({
    id,
    type: 'T',
    aggregateType: 'A',
    aggregateId: '1',
    payload: {},
    payloadJson: '{}',
    decoded: false,
    orderingKey: id,
    sequence: 1n,
    schemaVersion: 1,
    headers: {},
    createdAt: new Date(0),
    attempt: 1,
  })
const context = { signal: new AbortController().signal }
const statuses = (outcomes: readonly { status: string }[]) => outcomes.map((outcome) => outcome.status)

describe('function publisher', () => {
  test('what resolves is published, what throws is retryable unless it is marked', async () => {
    const publisher = toPublisher(({ id }: OutboxEvent) => {
      if (id === 'b') throw new Error('no')
      if (id === 'c') throw permanent(new Error('never'))
      if (id === 'd') throw unavailable('gone')
    })
    const outcomes = await publisher.publish(['a', 'b', 'c', 'd'].map(event), context)
    expect(statuses(outcomes)).toEqual(['published', 'retryable', 'permanent', 'unavailable'])
  })

  test('an outcome that it returns is taken as such', async () => {
    const returns: Record<string, Outcome> = {
      a: { status: 'permanent', error: new Error('never') },
      b: { status: 'retryable', error: new Error('later') },
      c: { status: 'published' },
    }
    const publisher = toPublisher(({ id }: OutboxEvent) => returns[id])
    const outcomes = await publisher.publish(Object.keys(returns).map(event), context)
    expect(statuses(outcomes)).toEqual(['permanent', 'retryable', 'published'])
  })

  // Types refuse all of these; a program without them must not mark as published what nobody has taken.
  test.each([
    ['an answer of 500', new Response('no', { status: 500 }), 'a Response of status 500'],
    ['an answer of 200', new Response('yes'), 'a Response of status 200'],
    ['an answer that is not ok', { ok: false }, 'an object'],
    ['an outcome that is misspelt', { status: 'publishd' }, "an object of status 'publishd'"],
  ])('%s, returned, tells nothing of the event, which counts as a failed try', async (_, returned, words) => {
    const publisher = toPublisher((async () => returned) as never)
    const [outcome] = await publisher.publish([event('a')], context)
    expect(outcome).toMatchObject({
      status: 'retryable',
      error: { code: 'PUBLISHER_INVALID_OUTCOME', message: expect.stringContaining(`returned ${words}, so`) },
    })
  })

  test.each([[false], [7], [null], [{ id: 1 }], [{ ok: true }]])(
    '%j, returned by a program without types, is not looked at',
    async (returned) => {
      const publisher = toPublisher((() => returned) as never)
      expect(statuses(await publisher.publish([event('a')], context))).toEqual(['published'])
    },
  )

  test('a function that ignores its signal costs only its own event', async () => {
    const abort = new AbortController()
    const publisher = toPublisher(({ id }: OutboxEvent) => (id === 'b' ? new Promise(() => {}) : abort.abort(new Error('late'))))
    const outcomes = await publisher.publish(['b', 'a'].map(event), abort)
    expect(statuses(outcomes)).toEqual(['retryable', 'published'])
    expect(outcomes[0]).toMatchObject({ error: new Error('late') })
  })

  test('an event behind many whose calls hang gets its turn', async () => {
    const begun: string[] = []
    const publisher = toPublisher(({ id }: OutboxEvent) => {
      begun.push(id)
      if (id !== 'good') return new Promise(() => {})
    })
    // Those that have been tried come before what is new, as a relay reads them.
    const hanging = Array.from({ length: 100 }, (_, n) => event(`${n}`))
    let waiting = [...hanging, event('good')]
    for (let call = 0; call < 4; call++) {
      const abort = new AbortController()
      const publishing = publisher.publish(waiting, abort)
      setImmediate(() => abort.abort(new Error('late')))
      const outcomes = await publishing
      const tried = waiting.filter((_, index) => outcomes[index] !== notBegun)
      waiting = [...hanging.filter((one) => !tried.includes(one)), ...tried.filter(({ id }) => id !== 'good'), event('good')]
    }
    expect(begun).toContain('good')
  })

  test('at most 32 calls run at a time, begun in order', async () => {
    let running = 0
    let most = 0
    const begun: string[] = []
    const publisher = toPublisher(async ({ id }: OutboxEvent) => {
      begun.push(id)
      most = Math.max(most, ++running)
      await new Promise((resolve) => setImmediate(resolve))
      running--
    })
    const ids = Array.from({ length: 100 }, (_, index) => String(index))
    await publisher.publish(ids.map(event), context)
    expect(most).toBe(32)
    expect(begun).toEqual(ids)
  })

  test('what it had no time to begin has not failed, and comes first in the next call', async () => {
    const ids = Array.from({ length: 40 }, (_, index) => String(index))
    const begun: string[] = []
    let hangs = true
    const publisher = toPublisher(({ id }: OutboxEvent) => {
      begun.push(id)
      return hangs ? new Promise(() => {}) : undefined
    })
    const abort = new AbortController()
    const publishing = publisher.publish(ids.map(event), abort)
    abort.abort(new Error('late'))
    const outcomes = await publishing
    expect(statuses(outcomes.slice(0, 32))).toEqual(Array(32).fill('retryable'))
    expect(outcomes.slice(32).every((outcome) => outcome === notBegun)).toBe(true)
    expect(begun).toEqual(ids.slice(0, 32))
    hangs = false
    await publisher.publish(ids.map(event), context)
    expect(begun.slice(32)).toEqual([...ids.slice(32), ...ids.slice(0, 32)])
  })

  test('what has failed before, and may hang, keeps nothing new waiting, nor is it kept waiting itself', async () => {
    const begun: string[] = []
    const publisher = toPublisher(({ id }: OutboxEvent) => {
      begun.push(id)
      return id.startsWith('new') ? undefined : new Promise(() => {})
    })
    const failed = Array.from({ length: 100 }, (_, n) => ({ ...event(`failed ${n}`), attempt: 2 }))
    const fresh = Array.from({ length: 100 }, (_, n) => event(`new ${n}`))
    const abort = new AbortController()
    const publishing = publisher.publish([...failed, ...fresh], abort)
    setImmediate(() => abort.abort(new Error('late')))
    const outcomes = await publishing
    expect(statuses(outcomes.slice(100))).toEqual(Array(100).fill('published'))
    expect(begun.filter((id) => id.startsWith('failed'))).toHaveLength(32)
    expect(begun.slice(0, 32).filter((id) => id.startsWith('failed'))).toHaveLength(16)
  })

  test('whoever takes none now is asked for no more, and what it was not asked for has not failed', async () => {
    let asked = 0
    const publisher = toPublisher(async () => {
      if (++asked > 10) throw unavailable(new Error('429'))
    })
    const outcomes = await publisher.publish(
      Array.from({ length: 200 }, (_, n) => event(String(n))),
      context,
    )
    expect(asked).toBeLessThan(10 + 2 * 32)
    expect(statuses(outcomes).filter((status) => status === 'published')).toHaveLength(10)
    expect(outcomes.filter((outcome) => outcome === notBegun)).toHaveLength(200 - asked)
  })

  test('after half of the time none is begun, and those that were have the other half', async () => {
    let inTime = true
    const publisher = toPublisher(() => new Promise((resolve) => setImmediate(resolve)))
    const publishing = publisher.publish(
      Array.from({ length: 40 }, (_, index) => event(String(index))),
      { ...context, mayBegin: () => inTime },
    )
    inTime = false
    const outcomes = await publishing
    expect(statuses(outcomes.slice(0, 32))).toEqual(Array(32).fill('published'))
    expect(outcomes.slice(32).every((outcome) => outcome === notBegun)).toBe(true)
  })

  test('a function whose name is longer than a column takes is refused', () => {
    const name = 'f'.repeat(101)
    expect(() => toPublisher({ [name]: () => {} }[name] as never)).toThrow(
      expect.objectContaining({ code: 'OPTION_INVALID', message: expect.stringContaining('name has 101 characters') }),
    )
  })

  test('what is neither a function nor a publisher is refused', () => {
    for (const given of [undefined, {}, { name: '', publish() {} }, { name: 'x' }, 'redis']) {
      expect(() => toPublisher(given as never)).toThrow('OPTION_INVALID')
    }
  })
})

describe('checking outcomes', () => {
  test('of a wrong number of outcomes none is trusted', () => {
    const outcomes = checkOutcomes('p', [event('a'), event('b')], [{ status: 'published' }])
    expect(statuses(outcomes)).toEqual(['retryable', 'retryable'])
    expect(String((outcomes[0] as { error: unknown }).error)).toContain('an array of 1 for 2 events')
  })

  test('an unknown status costs only its own event', () => {
    const outcomes = checkOutcomes('p', [event('a'), event('b')], [{ status: 'ok' }, { status: 'published' }])
    expect(statuses(outcomes)).toEqual(['retryable', 'published'])
    expect(String((outcomes[0] as { error: unknown }).error)).toContain('PUBLISHER_INVALID_OUTCOME')
  })

  test('an outcome without a sensible error is given one', () => {
    const given = [{ status: 'retryable' }, { status: 'permanent', error: 'too long' }, { status: 'unavailable', error: null }]
    const outcomes = checkOutcomes('p', ['a', 'b', 'c'].map(event), given)
    expect(statuses(outcomes)).toEqual(['retryable', 'permanent', 'unavailable'])
    expect(outcomes.map((outcome) => String('error' in outcome && outcome.error))).toEqual([
      'Error: Publisher "p" gave no error with its outcome retryable',
      'Error: too long',
      'Error: Publisher "p" gave no error with its outcome unavailable',
    ])
  })

  test('an object that the publisher uses again for the next outcome changes no earlier one', () => {
    const outcome = { status: 'published' }
    const outcomes = checkOutcomes('p', [event('a')], [outcome])
    outcome.status = 'retryable'
    expect(statuses(outcomes)).toEqual(['published'])
  })

  test('garbage of any kind is told apart from outcomes', () => {
    const garbages = [
      undefined,
      null,
      'published',
      7,
      [null],
      [{}],
      { length: 1 },
      Object.create(null),
      [{ status: 1n }],
      [Symbol('s')],
    ]
    for (const garbage of garbages) {
      expect(statuses(checkOutcomes('p', [event('a')], garbage))).toEqual(['retryable'])
    }
  })
})
