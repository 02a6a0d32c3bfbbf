import { fullJitter } from '../../kernel/backoff.ts'
import type { Clock } from '../../kernel/clock.ts'

const backoff = { baseMs: 100, maxMs: 2000 }

/** What {@link writeThrough} works with. */
export interface WriteThrough<Result> {
  /** @param again it failed before, and may have been carried out all the same. */
  readonly write: (again: boolean) => Promise<Result>
  /** Whether another try still makes sense. */
  readonly worthwhile: () => boolean
  readonly clock: Clock
  readonly deadline: AbortSignal
  /** Told of each failure behind which it is tried again. */
  readonly onFailure: (error: unknown) => void
  /** After so many tries it is given up; without it, only when it is no longer worthwhile. */
  readonly tries?: number | undefined
}

/**
 * Writes what became of published events, and tries again while the leases hold: each mark that is given up is a repetition
 * for the consumers.
 *
 * @throws the last error, once it is given up.
 */
export async function writeThrough<Result>({
  write,
  worthwhile,
  clock,
  deadline,
  onFailure,
  tries = Number.POSITIVE_INFINITY,
}: WriteThrough<Result>): Promise<Result> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await write(attempt > 1)
    } catch (error) {
      if (deadline.aborted || attempt >= tries || !worthwhile()) throw error
      onFailure(error)
      await clock.wait(fullJitter(backoff, attempt), deadline).catch(() => {})
    }
  }
}
