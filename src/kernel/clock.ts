import { setTimeout as delay } from 'node:timers/promises'

/** Where time comes from, so that a test can hold it still. */
export interface Clock {
  /** Milliseconds on a clock that never goes back; differences only, not a date. */
  now(): number
  /** Resolves after `ms` milliseconds; rejects with the signal's reason as soon as it aborts. */
  wait(ms: number, signal?: AbortSignal): Promise<void>
}

/** The process's monotonic clock. */
export const monotonicClock: Clock = {
  now: () => performance.now(),
  wait: async (ms, signal) => {
    await delay(ms, undefined, signal === undefined ? {} : { signal }).catch((error: unknown) => {
      throw signal?.aborted === true ? signal.reason : error
    })
  },
}
