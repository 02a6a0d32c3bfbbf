import { expect, it } from 'vitest'
import { RelayListeners } from '../../../src/outbox/relay-events.ts'
import { MemoryLogger } from '../../support/memory-logger.ts'

it('logs a listener of a relay that throws or rejects, and still tells the others', async () => {
  const logger = new MemoryLogger()
  const listeners = new RelayListeners(logger)
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
