import type { Logger } from '../../kernel/logger.ts'
import { errorText } from '../publishing/retry-policy.ts'
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
