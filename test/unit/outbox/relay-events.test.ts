import { expect, it } from 'vitest'
import { relayListeners } from '../../../src/outbox/relay/relay-events.ts'
import { MemoryLogger } from '../../support/memory-logger.ts'

it('logs a listener of a relay that throws or rejects, and still tells the others', async () => {
  const logger = new MemoryLogger()
  const listeners = relayListeners(logger)
  const told: string[] = []
  listeners.on('resumed', () => {
    throw new Error('throws')
  })
  listeners.on('resumed', () => Promise.reject(new Error('rejects')) as unknown as undefined)
  listeners.on('resumed', ({ cause }) => void told.push(cause))
  // An unhandled rejection would fail the run.
  listeners.tell('resumed', { cause: 'database' })
  expect(told).toEqual(['database'])
  await expect.poll(() => logger.errors.length).toBe(2)
  expect(logger.errors.map(({ message }) => message)).toEqual(Array(2).fill(expect.stringContaining('event resumed')))
})

it.each([
  ['nope', () => {}, /tells no event "nope".*published, retried/],
  ['publised', () => {}, /did you mean "published"/],
  ['published', 5, /listener of "published" is 5/],
])('refuses to listen for %j with %j', (name, listener, message) => {
  expect(() => relayListeners(new MemoryLogger()).on(name as never, listener as never)).toThrow(
    expect.objectContaining({ code: 'OPTION_INVALID', message: expect.stringMatching(message) }),
  )
})
