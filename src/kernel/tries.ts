import { DataAccessError } from '../errors.ts'
import type { BackoffOptions } from './backoff.ts'
import { checkOptions, numberFrom, type Optional, wholeFrom } from './options.ts'

/** How often something is tried, and how the waits between the tries grow. */
export interface Tries extends BackoffOptions {
  /** All of them together, from 1. */
  readonly attempts: number
}

const longestBaseMs = 3_600_000
const longestWaitMs = 86_400_000

/**
 * Checks the option `retry` and fills in what is missing. A `baseMs` alone raises the bound that nobody gave.
 *
 * @param door whose option it is.
 * @throws DataAccessError `OPTION_INVALID`.
 */
export function toTries(door: string, given: Optional<Tries>, defaults: Tries): Tries {
  checkOptions<Optional<Tries>>({ door, under: 'retry' }, given, {
    attempts: wholeFrom(1, 1000),
    baseMs: numberFrom(1, longestBaseMs, ' milliseconds'),
    maxMs: numberFrom(1, longestWaitMs, ' milliseconds'),
  })
  const { attempts = defaults.attempts, baseMs = defaults.baseMs } = given
  const { maxMs = Math.max(defaults.maxMs, baseMs) } = given
  if (maxMs >= baseMs) return { attempts, baseMs, maxMs }
  throw new DataAccessError(
    'OPTION_INVALID',
    `${door}: retry.maxMs is ${maxMs}; give ${baseMs} to ${longestWaitMs}, at least retry.baseMs`,
  )
}
