import { type Clock, monotonicClock } from './clock.ts'

/** What {@link atMost} resolves to when the time was over first. */
export const late = Symbol('late')

/**
 * Waits for a promise, but at most so many milliseconds; what it stands for goes on. The wait keeps the process alive: somebody
 * awaits it, and a process with nothing else to do would end in the middle of their `await`.
 */
export async function atMost<Result>(
  ms: number,
  promise: Promise<Result>,
  clock: Clock = monotonicClock,
): Promise<Result | typeof late> {
  const over = new AbortController()
  const expiry = clock.wait(ms, over.signal).then(
    () => late,
    () => late,
  ) as Promise<typeof late>
  try {
    return await Promise.race([promise, expiry])
  } finally {
    over.abort()
  }
}
