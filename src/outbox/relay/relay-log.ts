import type { MikroORM } from '@mikro-orm/core'
import { isAlone } from '../../database/alone.ts'
import type { Logger } from '../../kernel/logger.ts'
import { nearestName } from '../../kernel/nearest-name.ts'
import type { EventDefinitions } from '../event/event-definitions.ts'
import { isNameless } from '../publishing/function-publisher.ts'
import { type DeadLetterRules, errorText } from '../publishing/retry-policy.ts'
import type { BucketLeasesParts } from './bucket-leases.ts'
import type { RelayListeners } from './relay-events.ts'
import type { RelaySettings } from './relay-options.ts'

/** Logs what somebody must hear of without having asked: the first failure of a row, each dead letter, and leases that were lost. */
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
  listeners.on('leaseLost', ({ buckets }) => {
    logger.warn(
      `The leases on buckets ${buckets.join(', ')} passed to another relay, which may publish again what this one had in hand (OUTBOX_LEASE_LOST)`,
      { buckets, code: 'OUTBOX_LEASE_LOST' },
    )
  })
}

/** Logs the begin of each pause with its cause, and its end. What probes find in between is not logged. */
export function logPauses(
  listeners: RelayListeners,
  { name, publisher }: Pick<RelaySettings, 'name' | 'publisher'>,
  logger: Logger,
): void {
  const whom = { publisher: `publisher "${publisher.name}"`, database: 'database' }
  listeners.on('paused', ({ cause, error }) => {
    logger.warn(
      `Relay "${name}" is paused: its ${whom[cause]} is away: ${errorText(error)}. It tries on by itself, and spends no attempt of an event meanwhile; further failures are not logged until it goes on`,
      { relay: name, cause },
    )
  })
  listeners.on('resumed', ({ cause }) => {
    logger.info(`Relay "${name}" goes on: its ${whom[cause]} is back`, { relay: name, cause })
  })
}

/** Logs each relay that was found dead, and once that the dead could not be taken over. */
export function logTakeovers(logger: Logger): Pick<BucketLeasesParts, 'onDead' | 'onNotTaken'> {
  let failing = false
  return {
    onDead: ({ id, inFlight }) => {
      failing = false
      logger.warn(`Relay ${id} died; its buckets are taken over`, { inFlight: inFlight.length })
    },
    onNotTaken: (error) => {
      if (failing) return
      failing = true
      logger.warn(
        'The buckets of relays that died could not be taken over; that is tried on. Further failures are not logged until it succeeds',
        { error },
      )
    },
  }
}

/** Logs that relays of other processes cannot tell this one's publisher from another one, where there may be such relays. */
export function warnOfNameless(
  { name, publisher }: Pick<RelaySettings, 'name' | 'publisher'>,
  orm: MikroORM,
  logger: Logger,
): void {
  if (isAlone(orm) || !isNameless(publisher)) return
  logger.warn(
    `Relay "${name}" has a function without a name as its publisher, known to other relays as "${publisher.name}": another program with such a function would take a part of the events, and nobody would be told. Give it a permanent name: publishToAll('webhook', [publisher])`,
    { relay: name },
  )
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
