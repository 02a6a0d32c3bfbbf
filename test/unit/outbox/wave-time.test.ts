import { beforeEach, expect, test } from 'vitest'
import { toPublisher } from '../../../src/outbox/publishing/function-publisher.ts'
import { publishInPortions } from '../../../src/outbox/publishing/portions.ts'
import { notBegun, type Outcome, type Publisher } from '../../../src/outbox/publishing/publisher.ts'
import { UnbegunEvents } from '../../../src/outbox/publishing/unbegun-events.ts'
import type { EventInHand } from '../../../src/outbox/relay/event-in-hand.ts'
import { publishWave, WavePublisher } from '../../../src/outbox/relay/wave-publisher.ts'
import { ManualClock } from '../../../src/testing/manual-clock.ts'
import { contractEvent } from '../../../src/testing/publisher-contract.ts'

const timeoutMs = 10_000
const published: Outcome = { status: 'published' }
const deadline = new AbortController().signal

/** A machine that can be suspended: its wall clock goes on, and no timer ends. */
class Machine extends ManualClock {
  #ahead = 1_000_000

  wall(): number {
    return this.now() + this.#ahead
  }

  suspend(ms: number): void {
    this.#ahead += ms
  }
}

let machine: Machine
beforeEach(() => {
  machine = new Machine()
})
const events = (count: number) => Array.from({ length: count }, (_, n) => contractEvent(`k${n}`, n))
const waves = (publisher: Publisher) => new WavePublisher(publisher, timeoutMs, machine)

test.each([
  [timeoutMs / 2 - 1, 100],
  [timeoutMs / 2, 1],
])('a machine that is suspended for %d ms within a call begins %d of 100 calls in all', async (ms, calls) => {
  let begun = 0
  const publisher = toPublisher(() => {
    if (++begun === 1) machine.suspend(ms)
  })
  const outcomes = await waves(publisher).publish(events(100), deadline)
  expect(begun).toBe(calls)
  expect(outcomes).toEqual([...Array(calls).fill(published), ...Array(100 - calls).fill(notBegun)])
})

test('a machine that is suspended while a portion is on its way begins no other', async () => {
  let begun = 0
  const publisher: Publisher = {
    name: 'portions',
    publish: (given, context) =>
      publishInPortions(given, context, new UnbegunEvents(), {
        place: () => 'stream',
        write: () => 'x'.repeat(99_000),
        publish: async (portion) => {
          begun++
          machine.suspend(timeoutMs / 2)
          return portion.map(() => published)
        },
      }),
  }
  const outcomes = await waves(publisher).publish(events(25), deadline)
  expect(begun).toBe(1)
  expect(outcomes).toEqual([...Array(10).fill(published), ...Array(15).fill(notBegun)])
})

test('what takes long to be written is begun portion by portion, so that each call brings some forward', async () => {
  const unbegun = new UnbegunEvents()
  const publisher: Publisher = {
    name: 'slow to write',
    publish: (given, context) =>
      publishInPortions(given, context, unbegun, {
        place: () => 'stream',
        write: () => {
          machine.suspend(timeoutMs / 50)
          return 'x'.repeat(99_000)
        },
        publish: async (portion) => portion.map(() => published),
      }),
  }
  const all = events(40)
  // Ten messages take a fifth of the time, and forty more than half of it.
  const outcomes = await waves(publisher).publish(all, deadline)
  expect(outcomes).toEqual([...Array(20).fill(published), ...Array(20).fill(notBegun)])
  expect(await waves(publisher).publish(all.slice(20), deadline)).toEqual(Array(20).fill(published))
})

test('a machine that is suspended between the look at its leases and the publisher begins nothing', async () => {
  let begun = 0
  const publisher: Publisher = {
    name: 'object',
    publish: async (given) => {
      begun++
      return given.map(() => published)
    },
  }
  const wave = events(3).map((event) => ({ event, fault: undefined })) as unknown as EventInHand[]
  const admit = () => {
    machine.suspend(timeoutMs / 2)
    return true
  }
  expect(await publishWave(wave, waves(publisher), admit, deadline)).toEqual(Array(3).fill(notBegun))
  expect(begun).toBe(0)
})

test('a process that stands still in the middle gives its publisher no more time for that', async () => {
  let signal: AbortSignal | undefined
  const publisher: Publisher = {
    name: 'hanging',
    publish: (_, context) => {
      signal = context.signal
      return new Promise(() => {})
    },
  }
  const outcomes = waves(publisher).publish(events(2), deadline)
  await machine.advance(timeoutMs / 2 - 100)
  expect(signal?.aborted).toBe(false)
  await machine.advance(timeoutMs / 2 + 2100)
  expect(signal?.aborted).toBe(true)
  await machine.advance(1000)
  expect((await outcomes).map(({ status }) => status)).toEqual(['retryable', 'retryable'])
})
