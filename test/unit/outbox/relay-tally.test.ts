import { expect, test } from 'vitest'
import { silentLogger } from '../../../src/kernel/logger.ts'
import { relayListeners } from '../../../src/outbox/relay/relay-events.ts'
import { RelayTally } from '../../../src/outbox/relay/relay-tally.ts'
import { readSign, writeSign } from '../../../src/outbox/store/sign-of-life.ts'

const clock = { now: () => 0, wall: () => 1000, wait: async () => undefined }

test('while publisher and database are away, the end of one pause leaves the other', () => {
  const listeners = relayListeners(silentLogger)
  const tally = new RelayTally(listeners, clock)
  expect(tally.paused).toBeUndefined()
  listeners.tell('paused', { cause: 'publisher', error: new Error('no broker') })
  expect(tally.paused).toEqual({ cause: 'publisher', since: new Date(1000), error: 'Error: no broker' })
  listeners.tell('paused', { cause: 'database', error: new Error('no database') })
  expect(tally.paused?.cause).toBe('database')
  listeners.tell('resumed', { cause: 'database' })
  expect(tally.paused?.cause).toBe('publisher')
  listeners.tell('resumed', { cause: 'publisher' })
  expect(tally.paused).toBeUndefined()
})

test('a sign of life carries the pause, with a short reason', () => {
  const listeners = relayListeners(silentLogger)
  const tally = new RelayTally(listeners, clock)
  const rates = { published: 0, retried: 0, deadLettered: 0 }
  expect(readSign(writeSign(tally))).toEqual({ rates, paused: undefined })
  expect(readSign(null)).toEqual({ rates, paused: undefined })
  listeners.tell('paused', { cause: 'publisher', error: new Error(`no broker ${'x'.repeat(1000)}`) })
  expect(readSign(writeSign(tally))).toEqual({ rates, paused: tally.paused })
  expect(tally.paused?.error).toHaveLength(500)
})
