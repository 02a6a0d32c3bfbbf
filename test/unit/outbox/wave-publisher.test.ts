import { describe, expect, test } from 'vitest'
import { monotonicClock } from '../../../src/kernel/clock.ts'
import { describeThrown } from '../../../src/kernel/thrown-error.ts'
import { toPublisher } from '../../../src/outbox/publishing/function-publisher.ts'
import { type OutboxEvent, type Publisher, permanent, unavailable } from '../../../src/outbox/publishing/publisher.ts'
import { WavePublisher } from '../../../src/outbox/relay/wave-publisher.ts'
import { contractEvent } from '../../../src/testing/publisher-contract.ts'

const deadline = new AbortController().signal
const events = [0, 1, 2].map((n) => contractEvent(`k${n}`, n))

async function publish(answer: (events: OutboxEvent[]) => unknown): Promise<string[]> {
  // As a publisher in JavaScript may: the types forbid it.
  const publisher = { name: 'p', publish: async (given: OutboxEvent[]) => answer(given) } as unknown as Publisher
  const outcomes = await new WavePublisher(publisher, 5000, monotonicClock).publish(events, deadline)
  return outcomes.map((outcome) => ('error' in outcome ? `${outcome.status} ${outcome.error}` : outcome.status))
}

describe('publishing a wave', () => {
  test.each<[string, (list: OutboxEvent[]) => unknown]>([
    ['reverses', (list) => list.reverse()],
    ['sorts', (list) => list.sort(() => 1)],
    ['shifts', (list) => list.shift()],
    ['empties', (list) => list.splice(0)],
  ])('a publisher that %s its list fails, and no outcome is given to another event', async (_, change) => {
    const statuses = await publish((list) => {
      change(list)
      return list.map(() => ({ status: 'published' }))
    })
    expect(statuses).toHaveLength(3)
    for (const status of statuses) expect(status).toMatch(/^retryable TypeError: /)
    expect(events.map(({ payload }) => payload)).toEqual([0, 1, 2])
  })

  test('outcomes that cannot be read are the failure of the publisher', async () => {
    const unreadable = {
      get status() {
        throw new Error('no status')
      },
    }
    expect(await publish(() => [unreadable, unreadable, unreadable])).toEqual(Array(3).fill('retryable Error: no status'))
  })
})

describe('what the relay cuts off', () => {
  const hanging = events[1] as OutboxEvent
  /** As `fetch` does: it rejects with the signal's own reason. */
  const request = (event: OutboxEvent, signal: AbortSignal) =>
    new Promise<void>((resolve, reject) => {
      if (event === hanging) signal.addEventListener('abort', () => reject(signal.reason))
      else resolve()
    })
  /** Functions that read every failure of their request in one way, and an object that does. */
  const ways: [string, Publisher][] = [
    [
      'marked in place',
      async (event: OutboxEvent, signal: AbortSignal) => request(event, signal).catch((e) => reject(unavailable(e))),
    ],
    [
      'wrapped',
      async (event: OutboxEvent, signal: AbortSignal) =>
        request(event, signal).catch((cause) => reject(unavailable(new Error('hook failed', { cause })))),
    ],
    [
      'called permanent',
      async (event: OutboxEvent, signal: AbortSignal) => request(event, signal).catch((e) => reject(permanent(e))),
    ],
  ].map(([how, publish]) => {
    const call = publish as (event: OutboxEvent, signal: AbortSignal) => Promise<void>
    return [how as string, toPublisher((event, { signal }) => call(event, signal))]
  })
  ways.push([
    'told as an outcome',
    {
      name: 'object',
      publish: (given, { signal }) =>
        Promise.all(
          given.map((event) =>
            request(event, signal).then(
              () => ({ status: 'published' }) as const,
              (error) => ({ status: 'unavailable', error }) as const,
            ),
          ),
        ),
    },
  ])

  test.each(ways)('by its timeout is a failed try of that event alone, when it comes back %s', async (_, publisher) => {
    // Functions begin in the first half of it, which a busy machine may sleep through.
    const outcomes = await new WavePublisher(publisher, 400, monotonicClock).publish(events, deadline)
    expect(outcomes.map(({ status }) => status)).toEqual(['published', 'retryable', 'published'])
    expect(describeThrown((outcomes[1] as { error: unknown }).error)).toContain('PUBLISHER_TIMEOUT')
  })

  test.each(ways)('by a stop is no failure, when it comes back %s', async (_, publisher) => {
    const stop = new AbortController()
    const outcomes = new WavePublisher(publisher, 5000, monotonicClock).publish(events, stop.signal)
    setTimeout(() => stop.abort(), 10)
    expect((await outcomes).map(({ status }) => status)).toEqual(['published', 'unavailable', 'published'])
  })

  test('by a stop is no failure either when the publisher has an error of its own for that', async () => {
    const aborted = Object.assign(new Error('Request aborted'), { name: 'AbortError' })
    const publisher: Publisher = {
      name: 'sdk',
      publish: (_, { signal }) => new Promise((_, refuse) => signal.addEventListener('abort', () => refuse(aborted))),
    }
    const stop = new AbortController()
    const outcomes = new WavePublisher(publisher, 5000, monotonicClock).publish(events, stop.signal)
    setTimeout(() => stop.abort(), 10)
    expect(await outcomes).toEqual(Array(3).fill({ status: 'unavailable', error: aborted }))
    // Its own timeout is one.
    const late = await new WavePublisher(publisher, 40, monotonicClock).publish(events, deadline)
    expect(late.map(({ status }) => status)).toEqual(Array(3).fill('retryable'))
  })

  test('leaves an outage an outage that the publisher tells by itself while its time ends', async () => {
    const publisher: Publisher = {
      name: 'object',
      publish: (given, { signal }) =>
        new Promise((_, refuse) =>
          signal.addEventListener('abort', () => refuse(unavailable(new Error(`no route for ${given.length}`)))),
        ),
    }
    const outcomes = await new WavePublisher(publisher, 40, monotonicClock).publish(events, deadline)
    expect(outcomes.map(({ status }) => status)).toEqual(Array(3).fill('unavailable'))
  })
})

function reject(error: Error): never {
  throw error
}
