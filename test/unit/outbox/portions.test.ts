import { describe, expect, test } from 'vitest'
import { type MessagePublishing, publishInPortions } from '../../../src/outbox/publishing/portions.ts'
import { notBegun, type Outcome, permanent } from '../../../src/outbox/publishing/publisher.ts'
import { UnbegunEvents } from '../../../src/outbox/publishing/unbegun-events.ts'
import { contractEvent } from '../../../src/testing/publisher-contract.ts'

const never = { signal: new AbortController().signal }
const published: Outcome = { status: 'published' }
const away: Outcome = { status: 'unavailable', error: new Error('away') }
/** Ten of them are one portion, eleven are not. */
const tenth = 99_000
const events = (count: number) => Array.from({ length: count }, (_, n) => contractEvent(`k${n}`, n))

/** Makes messages of a length, whose place is the payload, and answers each portion as told; notes what went out. */
function broker(length: number, answer: (portion: number) => Outcome | Promise<Outcome>) {
  const portions: string[][] = []
  const publishing: MessagePublishing = {
    place: ({ payload }) => String(payload),
    write: () => 'x'.repeat(length),
    publish: async (portion) => {
      portions.push(portion.map(({ place }) => place))
      const outcome = await answer(portions.length)
      return portion.map(() => outcome)
    },
  }
  return { portions, publishing }
}

describe('publishing in portions', () => {
  test('an ordinary wave is one portion, and a large one is several in its order', async () => {
    const small = broker(1000, () => published)
    await publishInPortions(events(500), never, new UnbegunEvents(), small.publishing)
    expect(small.portions).toHaveLength(1)
    const large = broker(tenth, () => published)
    expect(await publishInPortions(events(25), never, new UnbegunEvents(), large.publishing)).toEqual(Array(25).fill(published))
    expect(large.portions.map(({ length }) => length)).toEqual([10, 10, 5])
    expect(large.portions.flat()).toEqual(Array.from({ length: 25 }, (_, n) => String(n)))
  })

  test('a large message goes alone and behind the others, so that none fails with it or waits for it', async () => {
    const { portions, publishing } = broker(1000, () => published)
    const write: MessagePublishing['write'] = ({ payloadJson }) => payloadJson
    const given = events(6).map((event, n) => ({ ...event, payloadJson: 'x'.repeat(n === 2 || n === 3 ? 100_000 : 1000) }))
    await publishInPortions(given, never, new UnbegunEvents(), { ...publishing, write })
    expect(portions).toEqual([['0', '1', '4', '5'], ['2'], ['3']])
  })

  test('what was acknowledged is published, and behind an outage nothing more goes out', async () => {
    const { portions, publishing } = broker(tenth, (portion) => (portion === 2 ? away : published))
    const outcomes = await publishInPortions(events(30), never, new UnbegunEvents(), publishing)
    expect(outcomes).toEqual([...Array(10).fill(published), ...Array(20).fill(away)])
    expect(portions).toHaveLength(2)
  })

  test('what has not gone out when the signal aborts was not begun, and what is under way fails by it', async () => {
    const abort = new AbortController()
    const late = new Error('late')
    const { publishing } = broker(tenth, (portion) => {
      if (portion === 1) return published
      abort.abort(late)
      return new Promise<Outcome>(() => {})
    })
    const outcomes = await publishInPortions(events(30), abort, new UnbegunEvents(), publishing)
    expect(outcomes.slice(0, 10)).toEqual(Array(10).fill(published))
    expect(outcomes.slice(10, 20)).toEqual(Array(10).fill({ status: 'retryable', error: late }))
    expect(outcomes.slice(20).every((outcome) => outcome === notBegun)).toBe(true)
  })

  test('no portion goes out after half of the time, so that none is cut off', async () => {
    let inTime = true
    const { publishing } = broker(tenth, () => {
      inTime = false
      return published
    })
    const outcomes = await publishInPortions(events(11), { ...never, mayBegin: () => inTime }, new UnbegunEvents(), publishing)
    expect(outcomes).toEqual([...Array(10).fill(published), notBegun])
  })

  test('what had no time to go out goes first with the next call, so that none waits for ever behind what fails', async () => {
    const unbegun = new UnbegunEvents()
    const given = events(6)
    const went: string[] = []
    for (let call = 0; call < 3; call++) {
      let inTime = true
      const { publishing } = broker(100_000, () => ({ status: 'retryable', error: new Error('too slow') }))
      await publishInPortions(given, { ...never, mayBegin: () => inTime }, unbegun, {
        ...publishing,
        publish: async (portion, signal) => {
          went.push(...portion.map(({ place }) => place))
          if (went.length % 2 === 0) inTime = false
          return publishing.publish(portion, signal)
        },
      })
    }
    expect(went).toEqual(['0', '1', '2', '3', '4', '5'])
  })

  test('an event without a place, or that cannot be written, fails alone, and is asked for once', async () => {
    const asked: unknown[] = []
    const { portions, publishing } = broker(1, () => published)
    const outcomes = await publishInPortions(events(4), never, new UnbegunEvents(), {
      ...publishing,
      place: ({ payload }) => {
        asked.push(payload)
        if (payload === 0) throw new Error('nowhere')
        if (payload === 1) throw permanent(new Error('never'))
        return String(payload)
      },
      write: ({ payload }) => {
        if (payload === 2) throw new RangeError('Invalid time value')
        return 'x'
      },
    })
    expect(outcomes.map(({ status }) => status)).toEqual(['retryable', 'permanent', 'permanent', 'published'])
    expect(outcomes[2]).toMatchObject({ error: { cause: new RangeError('Invalid time value') } })
    expect(portions).toEqual([['3']])
    expect(asked).toEqual([0, 1, 2, 3])
  })
})
