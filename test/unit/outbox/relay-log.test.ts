import { describe, expect, it } from 'vitest'
import { relayListeners } from '../../../src/outbox/relay/relay-events.ts'
import { logFailures } from '../../../src/outbox/relay/relay-log.ts'
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
})
