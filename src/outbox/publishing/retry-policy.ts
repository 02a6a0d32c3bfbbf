import { type BackoffOptions, fullJitter } from '../../kernel/backoff.ts'
import type { Optional } from '../../kernel/options.ts'
import { describeThrown } from '../../kernel/thrown-error.ts'
import { toTries } from '../../kernel/tries.ts'
import type { NextTry, Outcome } from './publisher.ts'

/** How often, and how soon, a failed event is tried again. */
export interface RetryPolicy extends BackoffOptions {
  /** Tries before an event becomes a dead letter, the first one included; 1 … 1000. */
  readonly attempts: number
}

/** What to do with the later events of a key when one became a dead letter. */
export const deadLetterRules = ['skip', 'block-key'] as const
/** `skip` goes on with the next event of the key; `block-key` holds them until the letter is redriven or discarded. */
export type DeadLetterRule = (typeof deadLetterRules)[number]

/** One rule for all events, or one per event type, `default` for the others. */
export type DeadLetterRules = DeadLetterRule | Readonly<Record<string, DeadLetterRule>>

/** Why an event became a dead letter: its publisher called it `permanent`, its payload could not be read, or relays crashed on it; or its tries were `exhausted`. */
export type DeadLetterReason = 'permanent' | 'exhausted'

/** What the relay decides after an event was tried. */
export type Settlement =
  | { readonly kind: 'published' }
  | { readonly kind: 'retry'; readonly attempts: number; readonly delayMs: number; readonly error: unknown }
  | {
      readonly kind: 'dead-letter'
      readonly attempts: number
      readonly reason: DeadLetterReason
      readonly blocksKey: boolean
      readonly error: unknown
    }
  | { readonly kind: 'pause'; readonly afterMs: number; readonly error: unknown }

/** The default policy: twenty tries over 27 minutes on average, which outlasts a receiver's deployment; ten of them in the first two to five. */
export const defaultRetryPolicy: RetryPolicy = { attempts: 20, baseMs: 500, maxMs: 300_000 }

/** The longest wait that counts when a publisher asks for one, in milliseconds: a receiver must not stop a relay for good. */
const longestAsked = 3_600_000

/** One for all: a batch has hundreds. */
const published: Settlement = Object.freeze({ kind: 'published' })

/**
 * Decides what follows from an outcome.
 *
 * @param event its type, key, and failed attempts so far.
 * @param random uniform in [0, 1).
 */
export function settle(
  event: { readonly type: string; readonly orderingKey: string | null; readonly attempts: number },
  outcome: Outcome,
  policy: RetryPolicy,
  rules: DeadLetterRules,
  random: () => number = Math.random,
): Settlement {
  if (outcome.status === 'published') return published
  const { error } = outcome
  // An outage is not the event's failure: it spends no attempt.
  if (outcome.status === 'unavailable') return { kind: 'pause', afterMs: askedFor(outcome), error }
  const attempts = event.attempts + 1
  if (outcome.status === 'retryable' && attempts < policy.attempts) {
    const delayMs = Math.ceil(Math.max(fullJitter(policy, attempts, random), askedFor(outcome)))
    return { kind: 'retry', attempts, delayMs, error }
  }
  const blocksKey = event.orderingKey !== null && ruleFor(event.type, rules) === 'block-key'
  return { kind: 'dead-letter', attempts, reason: outcome.status === 'permanent' ? 'permanent' : 'exhausted', blocksKey, error }
}

/** How long a publisher asks to wait, in ms: what is no number of them asks for nothing. */
export function askedFor({ afterMs }: NextTry): number {
  return typeof afterMs === 'number' && afterMs > 0 ? Math.min(afterMs, longestAsked) : 0
}

function ruleFor(type: string, rules: DeadLetterRules): DeadLetterRule {
  if (typeof rules === 'string') return rules
  return (Object.hasOwn(rules, type) ? rules[type] : rules.default) ?? 'skip'
}

/** Of a megabyte of error, so much helps somebody, in characters. */
const errorLength = 4000

/**
 * An error as the text that is stored and logged: name, message, and those of its causes. Passwords of URLs are masked: a driver may
 * tell where it wanted to go.
 */
export function errorText(error: unknown): string {
  // A little more than is kept, so that no URL is cut off before what gives its password away.
  const text = describeThrown(error).slice(0, 1.25 * errorLength)
  const masked = text
    .replace(/\b([a-z][a-z0-9+.-]*:\/\/[^\s:/@]*):\S*@/gi, '$1:***@')
    .replace(/([?&](?:password|token|secret)=)[^&\s]*/gi, '$1***')
  // PostgreSQL has no text with a zero byte or half a surrogate pair.
  return masked.replaceAll('\0', '').slice(0, errorLength).toWellFormed()
}

/** Checks a retry policy and fills in what is missing. */
export function toRetryPolicy(given: Optional<RetryPolicy> = {}): RetryPolicy {
  return toTries('relay', given, defaultRetryPolicy)
}
