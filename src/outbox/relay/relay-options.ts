import { DataAccessError } from '../../errors.ts'
import { anything, checkOptions, type Expectation, either, type Optional, oneOf, record, text } from '../../kernel/options.ts'
import { toPublisher } from '../publishing/function-publisher.ts'
import type { Publisher, PublishFunction } from '../publishing/publisher.ts'
import { type DeadLetterRules, deadLetterRules, type RetryPolicy, toRetryPolicy } from '../publishing/retry-policy.ts'
import type { MarkMode } from '../store/progress-store.ts'
import { longestKeepMs } from '../store/retention.ts'

/** PostgreSQL may always take so long for an answer to a relay, in ms, however short the lease. */
const shortestAnswerMs = 5000

/** What becomes of published events. */
export type Retention =
  | 'delete'
  | {
      /** Published rows older than so many milliseconds, at most ten years, are pruned in small batches. */
      readonly keepMs: number
    }

/** How a relay works. */
export interface RelayOptions {
  /** A function of one event, or a publisher, which `data.close()` will close. */
  readonly publisher: Publisher | PublishFunction
  /** Names the relay in logs and in `stats()`, in 1 to 100 characters; others may have the same. Default `relay`. */
  readonly name?: string | undefined
  /** Events fetched at a time, whatever their size, 1 … 10,000. Default 500. */
  readonly batchSize?: number | undefined
  /**
   * How long to wait, in ms, between looks at an outbox that was empty: doubled from `min` (1 … 60,000, default 50) to `max` (`min` …
   * 3,600,000, default 2000, or `min` if that is more). A commit in this process, or a wake, ends the wait.
   */
  readonly pollInterval?: { readonly min?: number | undefined; readonly max?: number | undefined } | undefined
  /** Milliseconds that the publisher has for one call, 10 … 3,600,000. Default 10,000. */
  readonly publishTimeout?: number | undefined
  /**
   * Milliseconds for which a relay holds its buckets without a sign of life; at least twice `publishTimeout`, and 100 … 7,200,000. Default
   * 30,000, or twice `publishTimeout` if that is more.
   */
  readonly lease?: number | undefined
  /**
   * How often and how soon a failed event is tried again. Default: 20 attempts, 500 ms doubled to 5 minutes, with full jitter. `baseMs` may
   * be 1 … 3,600,000, and `maxMs` `baseMs` … 86,400,000.
   */
  readonly retry?: Optional<RetryPolicy> | undefined
  /** `skip` (default) goes on behind a dead letter, `block-key` holds its key; one rule, or one per event type. */
  readonly onDeadLetter?: DeadLetterRules | undefined
  /** `keep` (default) leaves published rows and prunes none, `{ keepMs }` prunes them after a while, `delete` removes them. */
  readonly retention?: 'keep' | Retention | undefined
}

/** {@link RelayOptions}, checked and complete. */
export interface RelaySettings {
  readonly publisher: Publisher
  readonly name: string
  readonly batchSize: number
  readonly poll: { readonly min: number; readonly max: number }
  readonly publishTimeoutMs: number
  readonly leaseMs: number
  /** Milliseconds that PostgreSQL has for an answer: early enough for a lease to be renewed on another connection. */
  readonly answerMs: number
  readonly retry: RetryPolicy
  readonly rules: DeadLetterRules
  readonly mark: MarkMode
  /** `undefined`: published rows are never pruned. */
  readonly keepMs: number | undefined
}

/**
 * Checks a relay's options and fills in the defaults.
 *
 * @throws DataAccessError `OPTION_INVALID`, naming option, value and range.
 */
export function toRelaySettings(options: RelayOptions): RelaySettings {
  checkKinds(options)
  const publishTimeoutMs = inRange('publishTimeout', options.publishTimeout ?? 10_000, 10, 3_600_000)
  const leaseMs = inRange('lease', options.lease ?? Math.max(30_000, 2 * publishTimeoutMs), 100, 7_200_000)
  if (leaseMs < 2 * publishTimeoutMs) {
    throw new DataAccessError(
      'OPTION_INVALID',
      `relay: lease is ${leaseMs} ms and publishTimeout ${publishTimeoutMs} ms; a lease must outlast a publish, or two relays publish at once. Give a lease of at least ${2 * publishTimeoutMs} ms`,
    )
  }
  const min = inRange('pollInterval.min', options.pollInterval?.min ?? 50, 1, 60_000)
  const retention = options.retention ?? 'keep'
  return {
    publisher: toPublisher(options.publisher),
    name: nameOf(options.name ?? 'relay'),
    batchSize: inRange('batchSize', options.batchSize ?? 500, 1, 10_000, true),
    poll: { min, max: inRange('pollInterval.max', options.pollInterval?.max ?? Math.max(2000, min), min, 3_600_000) },
    publishTimeoutMs,
    leaseMs,
    answerMs: Math.max(shortestAnswerMs, leaseMs / 3),
    retry: toRetryPolicy(options.retry),
    rules: checkRules(options.onDeadLetter ?? 'skip'),
    mark: retention === 'delete' ? 'delete' : 'keep',
    keepMs: keepMsOf(retention),
  }
}

/** Refuses unknown options and other kinds of values; ranges, of which some depend on one another, are checked one by one. */
function checkKinds(options: RelayOptions): void {
  const door = 'relay'
  const elsewhere = {
    attempts: 'retry: { attempts }',
    baseMs: 'retry: { baseMs }',
    maxMs: 'retry: { maxMs }',
    keepMs: 'retention: { keepMs }',
  }
  checkOptions({ door, elsewhere }, options, {
    publisher: anything,
    name: text,
    batchSize: number,
    pollInterval: record,
    publishTimeout: number,
    lease: number,
    retry: record,
    onDeadLetter: either(oneOf(...deadLetterRules), record),
    retention: either(oneOf('keep', 'delete'), { ...record, words: '{ keepMs }' }),
  })
  const { pollInterval = {}, retention } = options
  checkOptions({ door, under: 'pollInterval' }, pollInterval, { min: number, max: number })
  if (typeof retention === 'object') checkOptions({ door, under: 'retention' }, retention, { keepMs: number })
}

const number: Expectation = { words: 'a number', fits: (value) => typeof value === 'number' }

function inRange(option: string, value: number, low: number, high: number, whole = false): number {
  if (value >= low && value <= high && (!whole || Number.isInteger(value))) return value
  throw new DataAccessError('OPTION_INVALID', `relay: ${option} is ${value}; give ${low} to ${high}`)
}

function nameOf(name: string): string {
  if (name.length >= 1 && name.length <= 100) return name
  throw new DataAccessError('OPTION_INVALID', `relay: name has ${name.length} characters; give 1 to 100`)
}

function checkRules(rules: DeadLetterRules): DeadLetterRules {
  const given = typeof rules === 'string' ? [rules] : Object.values(rules)
  const unknown = given.find((rule) => !deadLetterRules.includes(rule))
  if (unknown === undefined) return rules
  throw new DataAccessError('OPTION_INVALID', `relay: onDeadLetter is ${String(unknown)}; give 'skip' or 'block-key'`)
}

function keepMsOf(retention: 'keep' | Retention): number | undefined {
  if (retention === 'keep' || retention === 'delete') return undefined
  if (typeof retention === 'object') return inRange('retention.keepMs', retention.keepMs, 0, longestKeepMs)
  throw new DataAccessError('OPTION_INVALID', `relay: retention is ${String(retention)}; give 'keep', 'delete' or { keepMs }`)
}
