import { describe, expect, test } from 'vitest'
import { Bell } from '../../../src/kernel/bell.ts'
import type { Clock } from '../../../src/kernel/clock.ts'

/** Counts the timers that nobody has ended; time stands still. */
class StillClock implements Clock {
  timers = 0
  now = () => 0
  wait = (_: number, signal?: AbortSignal) =>
    new Promise<void>((_, reject) => {
      this.timers++
      signal?.addEventListener('abort', () => {
        this.timers--
        reject(signal.reason)
      })
    })
}

describe('a bell', () => {
  const never = new AbortController().signal

  test('ends the wait, and the timer of the wait', async () => {
    const clock = new StillClock()
    const bell = new Bell(clock)
    const wait = bell.wait(1000, never)
    bell.ring()
    expect(await wait).toBe(true)
    await expect.poll(() => clock.timers).toBe(0)
  })

  test('that rang while nobody waited ends the next wait, and only that one', async () => {
    const bell = new Bell(new StillClock())
    bell.ring()
    bell.ring()
    expect(await bell.wait(1000, never)).toBe(true)
    const stopping = new AbortController()
    const wait = bell.wait(1000, stopping.signal)
    stopping.abort()
    expect(await wait).toBe(false)
  })

  test('that does not ring lets the time pass', async () => {
    const bell = new Bell({ now: () => 0, wait: async () => {} })
    expect(await bell.wait(1000, never)).toBe(false)
  })
})
