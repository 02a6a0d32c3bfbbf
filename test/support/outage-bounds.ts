// 50 ms for each command and 100 ms for an invalidation, with tenfold slack for slow machines. What is given up tells its own bound.

/** How long a cached read may take whatever its Redis does, in milliseconds. */
export const readBoundMs = 10 * 3 * 50
/** How long a commit may. */
export const commitBoundMs = 10 * 100

/** What a piece of work gives, and how many milliseconds it took. */
export async function timed<T>(work: Promise<T>): Promise<{ readonly result: T; readonly ms: number }> {
  const startedAt = performance.now()
  return { result: await work, ms: performance.now() - startedAt }
}
