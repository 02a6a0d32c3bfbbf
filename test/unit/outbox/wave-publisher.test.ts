import { describe, expect, test } from 'vitest'
import { monotonicClock } from '../../../src/kernel/clock.ts'
import type { OutboxEvent, Publisher } from '../../../src/outbox/publishing/publisher.ts'
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
