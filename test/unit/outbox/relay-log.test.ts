import { describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
import { defineEvent } from '../../../src/outbox/event/define-event.ts'
import { EventDefinitions } from '../../../src/outbox/event/event-definitions.ts'
import { relayListeners } from '../../../src/outbox/relay/relay-events.ts'
import { logFailures, logPauses, warnOfRules } from '../../../src/outbox/relay/relay-log.ts'
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

  it('has the begin of each pause with its cause, and its end', () => {
    const logger = new MemoryLogger()
    const info = vi.spyOn(logger, 'info')
    const listeners = relayListeners(logger)
    logPauses(listeners, { name: 'eu', publisher: { name: 'hooks', publish: async () => [] } }, logger)
    listeners.tell('paused', { cause: 'publisher', error: new Error('https://u:secret@hooks.example refused') })
    listeners.tell('resumed', { cause: 'publisher' })
    listeners.tell('paused', { cause: 'database', error: new Error('no connection') })
    expect(logger.warnings).toEqual([
      {
        message: expect.stringMatching(/^Relay "eu" is paused: its publisher "hooks" is away: Error: https:\/\/u:\*\*\*@hooks/),
        context: { relay: 'eu', cause: 'publisher' },
      },
      { message: expect.stringContaining('its database is away: Error: no connection'), context: expect.anything() },
    ])
    expect(info).toHaveBeenCalledExactlyOnceWith('Relay "eu" goes on: its publisher "hooks" is back', expect.anything())
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
