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
  // Not that of node:timers/promises: it makes an error with a stack for each wait that is ended, and a relay ends thousands a second.
  wait: (ms, signal) =>
    new Promise((resolve, reject) => {
      signal?.throwIfAborted()
      const end = () => {
        clearTimeout(timer)
        reject(signal?.reason)
      }
      const timer = setTimeout(() => {
        signal?.removeEventListener('abort', end)
        resolve()
      }, ms)
      signal?.addEventListener('abort', end, { once: true })
    }),
}
