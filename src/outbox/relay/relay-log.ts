import type { Logger } from '../../kernel/logger.ts'
import { nearestName } from '../../kernel/nearest-name.ts'
import type { EventDefinitions } from '../event/event-definitions.ts'
import { type DeadLetterRules, errorText } from '../publishing/retry-policy.ts'
import type { RelayListeners } from './relay-events.ts'

/** Logs what somebody must hear of without having asked: the first failure of a row of failures, and each dead letter. */
export function logFailures(listeners: RelayListeners, logger: Logger): void {
  let failing = false
  listeners.on('published', () => {
    failing = false
  })
  listeners.on('retried', ({ eventId, type, attempts, delayMs, error }) => {
    if (failing) return
    failing = true
    logger.warn(
      `Event ${eventId} ("${type}") was not published: ${errorText(error)}. It is tried again in ${Math.ceil(delayMs)} ms; further failures are not logged until an event is published`,
      { eventId, type, attempts },
    )
  })
  listeners.on('deadLettered', ({ eventId, type, attempts, reason, error }) => {
    logger.error(
      `Event ${eventId} ("${type}") is a dead letter (${reason}): ${errorText(error)}. See data.outbox.deadLetters.list(), redrive() and discard()`,
      { eventId, type, attempts, reason },
    )
  })
}

/** Logs a rule for an event that no module lists, where one of nearly the same name is listed: others may come from elsewhere. */
export function warnOfRules(rules: DeadLetterRules, { types }: EventDefinitions, logger: Logger): void {
  for (const type of typeof rules === 'string' ? [] : Object.keys(rules)) {
    if (type === 'default' || types.includes(type)) continue
    const near = nearestName(type, types)
    if (near === undefined) continue
    logger.warn(`relay: onDeadLetter has a rule for "${type}", which no module lists; did you mean "${near}"?`, { type })
  }
}
