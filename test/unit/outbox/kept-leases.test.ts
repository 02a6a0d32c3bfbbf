import { expect, test } from 'vitest'
import { Bell } from '../../../src/kernel/bell.ts'
import type { RelayEngine } from '../../../src/outbox/relay/relay-engine.ts'
import { whileHolding } from '../../../src/outbox/relay/relay-loop.ts'
import { ManualClock } from '../../../src/testing/manual-clock.ts'
import { MemoryLogger } from '../../support/memory-logger.ts'

test('leases that cannot be renewed are logged once for each outage, and their return too', async () => {
  const clock = new ManualClock()
  const told: string[] = []
  const logger = Object.assign(new MemoryLogger(), {
    warn: (message: string) => void told.push(message),
    info: (message: string) => void told.push(message),
  })
  let away = false
  const leases = {
    intervalMs: 1000,
    buckets: [],
    keep: async () => {
      if (away) throw new Error('connection refused')
    },
    leave: async () => {},
  }
  const stopping = new AbortController()
  const signals = { stopping: stopping.signal, deadline: new AbortController().signal }
  const parts = { engine: { leases } as unknown as RelayEngine, bell: new Bell(clock), clock, logger }
  const held = whileHolding(
    parts,
    signals,
    () => new Promise<void>((end) => signals.stopping.addEventListener('abort', () => end())),
  )
  for (const now of [false, true, true, true, false, false, true, true, false]) {
    away = now
    await clock.advance(1000)
  }
  stopping.abort()
  await held
  const [gone, back] = [expect.stringContaining('could not renew its leases'), 'The relay can renew its leases again']
  expect(told).toEqual([gone, back, gone, back])
})
