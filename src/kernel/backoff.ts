/** How waits between tries grow. */
export interface BackoffOptions {
  /** The longest wait before the first retry, in milliseconds. */
  readonly baseMs: number
  /** The longest wait of all, in milliseconds. */
  readonly maxMs: number
}

/**
 * The wait before a retry, in milliseconds: uniform between 0 and `baseMs · 2^(attempt − 1)`, capped by `maxMs` — "full
 * jitter", which spreads competing retries best (M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015).
 *
 * @param attempt the try that has just failed, from 1.
 * @param random uniform in [0, 1).
 */
export function fullJitter({ baseMs, maxMs }: BackoffOptions, attempt: number, random: () => number = Math.random): number {
  // 2^31 is beyond any cap in use and keeps the power finite.
  return random() * Math.min(maxMs, baseMs * 2 ** Math.min(attempt - 1, 31))
}
