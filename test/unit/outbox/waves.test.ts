import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { notBegun, type Outcome } from '../../../src/outbox/publishing/publisher.ts'
import { laneOf, publishInWaves, toWaves } from '../../../src/outbox/relay/waves.ts'

const keys = fc.constantFrom('a', 'b', 'c', null)
const statuses = fc.constantFrom('published', 'published', 'retryable', 'permanent', 'unavailable')
const batches = fc
  .array(fc.record({ orderingKey: keys, status: statuses }), { maxLength: 40 })
  .map((events) => events.map((event, index) => ({ ...event, id: `e${index}`, index })))
type Planned = typeof batches extends fc.Arbitrary<(infer Item)[]> ? Item : never

const answer = (event: Planned): Outcome =>
  event.status === 'published'
    ? { status: 'published' }
    : { status: event.status as 'retryable' | 'permanent' | 'unavailable', error: new Error(event.id) }

describe('waves', () => {
  test('wave k holds the k-th event of each key, and all events without a key are in the first', () => {
    const events = ['a', 'a', 'b', null, 'a', null].map((orderingKey, index) => ({ id: `e${index}`, orderingKey }))
    expect(toWaves(events).map((wave) => wave.map((event) => event.id))).toEqual([['e0', 'e2', 'e3', 'e5'], ['e1'], ['e4']])
  })

  test('no wave holds two events of a key, and each key keeps its order', () => {
    fc.assert(
      fc.property(batches, (events) => {
        const waves = toWaves(events)
        for (const wave of waves) expect(new Set(wave.map(laneOf)).size).toBe(wave.length)
        const flat = waves.flat()
        expect(flat).toHaveLength(events.length)
        for (const lane of new Set(events.map(laneOf))) {
          expect(flat.filter((event) => laneOf(event) === lane)).toEqual(events.filter((event) => laneOf(event) === lane))
        }
      }),
    )
  })

  test('after a failure no later event of its key is tried, and every event ends tried or untried', async () => {
    await fc.assert(
      fc.asyncProperty(batches, async (events) => {
        const { tried, untried } = await publishInWaves(events, async (wave) => wave.map(answer))
        expect([...tried.map(({ event }) => event), ...untried].sort((a, b) => a.index - b.index)).toEqual(events)
        for (const lane of new Set(events.map(laneOf))) {
          const own = tried.filter(({ event }) => laneOf(event) === lane)
          expect(own.map(({ event }) => event.index)).toEqual(own.map(({ event }) => event.index).sort((a, b) => a - b))
          const failure = own.findIndex(({ outcome }) => outcome.status !== 'published')
          if (failure >= 0) expect(failure).toBe(own.length - 1)
        }
      }),
    )
  })

  test('nothing is tried after the wave in which the broker was away', async () => {
    const waves: string[][] = []
    const events = [1, 2, 3].flatMap((n) => ['a', 'b'].map((orderingKey) => ({ id: `${orderingKey}${n}`, orderingKey })))
    const { untried } = await publishInWaves(events, async (wave) => {
      waves.push(wave.map(({ id }) => id))
      return wave.map(({ id }): Outcome => (id === 'a2' ? { status: 'unavailable', error: 1 } : { status: 'published' }))
    })
    expect(waves).toEqual([
      ['a1', 'b1'],
      ['a2', 'b2'],
    ])
    expect(untried.map(({ id }) => id)).toEqual(['a3', 'b3'])
  })

  test('what was not begun is untried, and nothing is tried after its wave', async () => {
    const events = [1, 2].flatMap((n) => ['a', 'b'].map((orderingKey) => ({ id: `${orderingKey}${n}`, orderingKey })))
    const { tried, untried } = await publishInWaves(events, async (wave) =>
      wave.map(({ id }): Outcome => (id === 'b1' ? notBegun : { status: 'published' })),
    )
    expect(tried.map(({ event }) => event.id)).toEqual(['a1'])
    expect(untried.map(({ id }) => id)).toEqual(['b1', 'a2', 'b2'])
  })

  test('an event that is not admitted holds back the later ones of its key', async () => {
    const events = ['a', 'a', 'b'].map((orderingKey, index) => ({ id: `e${index}`, orderingKey }))
    const published = async (wave: readonly object[]) => wave.map((): Outcome => ({ status: 'published' }))
    const { tried } = await publishInWaves(events, published, (event) => event.id !== 'e0')
    expect(tried.map(({ event }) => event.id)).toEqual(['e2'])
  })

  test('no wave but the first begins when there is no more time, and the next event of each key that was well is told as late', async () => {
    const events = ['a', 'a', 'a', 'b', 'b', 'c', 'c'].map((orderingKey, index) => ({ id: `e${index}`, orderingKey }))
    const waves: string[][] = []
    const publish = async (wave: readonly { id: string }[]) => {
      waves.push(wave.map(({ id }) => id))
      return wave.map(({ id }): Outcome => (id === 'e3' ? { status: 'retryable', error: 1 } : { status: 'published' }))
    }
    const { tried, untried, late } = await publishInWaves(events, publish, undefined, () => false)
    expect(waves).toEqual([['e0', 'e3', 'e5']])
    expect(tried).toHaveLength(3)
    expect(late.map(({ id }) => id)).toEqual(['e1', 'e6'])
    expect(untried.map(({ id }) => id)).toEqual(['e1', 'e4', 'e6', 'e2'])
  })
})
