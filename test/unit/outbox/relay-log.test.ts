import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { defineEvent } from '../../../src/outbox/event/define-event.ts'
import { EventDefinitions } from '../../../src/outbox/event/event-definitions.ts'
import { relayListeners } from '../../../src/outbox/relay/relay-events.ts'
import { logFailures, warnOfRules } from '../../../src/outbox/relay/relay-log.ts'
import { MemoryLogger } from '../../support/memory-logger.ts'

describe('the log of a relay', () => {
  const failure = { eventId: 'e1', type: 'Placed', attempts: 1, delayMs: 12.3, error: new Error('the broker says no') }

  it('has the first failure of a row, with the reason, and the next one only after a success', () => {
    const logger = new MemoryLogger()
    const listeners = relayListeners(logger)
    logFailures(listeners, logger)
    listeners.tell('retried', failure)
    listeners.tell('retried', failure)
    expect(logger.warnings.map(({ message }) => message)).toEqual([
      expect.stringMatching(/e1 \("Placed"\).*the broker says no.*13 ms/),
    ])
    listeners.tell('published', { events: [] })
    listeners.tell('retried', failure)
    expect(logger.warnings).toHaveLength(2)
  })

  it('has each dead letter', () => {
    const logger = new MemoryLogger()
    const listeners = relayListeners(logger)
    logFailures(listeners, logger)
    for (const eventId of ['e1', 'e2'])
      listeners.tell('deadLettered', { ...failure, eventId, reason: 'exhausted', blocksKey: false })
    expect(logger.errors.map(({ message }) => message)).toEqual([
      expect.stringContaining('e1 ("Placed") is a dead letter (exhausted): Error: the broker says no'),
      expect.stringContaining('e2'),
    ])
  })

  it('warns of a rule for an event of nearly the name of a listed one, and not for one from elsewhere', () => {
    const logger = new MemoryLogger()
    const definitions = new EventDefinitions([defineEvent({ type: 'OrderPaid', aggregate: 'Order', payload: z.object({}) })])
    warnOfRules('skip', definitions, logger)
    warnOfRules({ OrderPaid: 'skip', Shipment: 'block-key', default: 'skip' }, definitions, logger)
    expect(logger.warnings).toEqual([])
    warnOfRules({ OrderPayed: 'block-key', default: 'skip' }, definitions, logger)
    expect(logger.warnings.map(({ message }) => message)).toEqual([expect.stringContaining('did you mean "OrderPaid"?')])
  })
})
