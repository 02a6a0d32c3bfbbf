/** Where time comes from, so that a test can hold it still. */
export interface Clock {
  /** Milliseconds on a clock that never goes back; differences only, not a date. */
  now(): number
  /**
   * Milliseconds on the wall clock, which goes on while the machine is suspended, as {@link now} may not, but may be set forward
   * or back. Without it only {@link now} is asked.
   */
  wall?(): number
  /** Resolves after `ms` milliseconds; rejects with the signal's reason as soon as it aborts. */
  wait(ms: number, signal?: AbortSignal): Promise<void>
}

/** The process's monotonic clock. */
export const monotonicClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
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

/** A moment as a clock tells it, to ask later how long ago it was. */
export interface Moment {
  readonly now: number
  readonly wall: number
}

export function momentOf(clock: Clock): Moment {
  const now = clock.now()
  return { now, wall: clock.wall?.() ?? now }
}

/**
 * Milliseconds since a moment by whichever clock tells more: too much where somebody set the wall clock forward, never too little.
 * `Infinity` since never.
 */
export function longestSince(moment: Moment | undefined, clock: Clock): number {
  if (moment === undefined) return Number.POSITIVE_INFINITY
  const now = clock.now()
  return Math.max(now - moment.now, (clock.wall?.() ?? now) - moment.wall)
}
