import type { Clock } from '../../kernel/clock.ts'
import { numberFrom } from '../../kernel/options.ts'

/** How long `stop()` waits for the batch in hand, unless told otherwise, in ms. */
export const stopDeadlineMs = 10_000

/** What `stop()` and `close()` take as their deadline, in ms. */
export const deadlineExpected = numberFrom(0, 86_400_000, ' milliseconds')

/** How long what is begun may still take when its deadline is over, in ms: enough for a mark that is on its way. */
const graceMs = 1000

/** How long a relay may take beyond its deadline, in ms: for its work, then for giving its leases back, then for what it prunes. */
export const longestGraceMs = 3 * graceMs

/**
 * Resolves to what the work resolves to. When it still has not ended a moment after the deadline, it is left alone: behind a
 * network that stands still a database answers never.
 *
 * @throws what the work throws; the deadline's reason when the work was left alone.
 */
export async function untilDeadline<Result>(work: Promise<Result>, deadline: AbortSignal, clock: Clock): Promise<Result> {
  const over = new AbortController()
  const leave = async (): Promise<never> => {
    if (!deadline.aborted) await new Promise((resolve) => deadline.addEventListener('abort', resolve, { signal: over.signal }))
    await clock.wait(graceMs, over.signal)
    throw deadline.reason
  }
  try {
    return await Promise.race([work, leave()])
  } finally {
    over.abort()
  }
}
