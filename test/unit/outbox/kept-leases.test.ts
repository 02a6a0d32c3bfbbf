import { expect, test } from 'vitest'
import { Bell } from '../../../src/kernel/bell.ts'
import { DatabaseOutage } from '../../../src/outbox/relay/outage.ts'
import type { RelayEngine } from '../../../src/outbox/relay/relay-engine.ts'
import { relayListeners } from '../../../src/outbox/relay/relay-events.ts'
import { whileHolding } from '../../../src/outbox/relay/relay-loop.ts'
import { ManualClock } from '../../../src/testing/manual-clock.ts'
import { MemoryLogger } from '../../support/memory-logger.ts'

interface Kept {
  away: boolean
  usable: boolean
}

/** Keeps leases that fail while told to; gives back what is told, and moves on by one renewal. */
function keepLeases(kept: Kept) {
  const clock = new ManualClock()
  const told: string[] = []
  const logger = Object.assign(new MemoryLogger(), {
    warn: (message: string) => void told.push(message),
    info: (message: string) => void told.push(message),
  })
  const listeners = relayListeners(logger)
  listeners.on('paused', ({ error }) => told.push(`paused: ${error.message}`))
  listeners.on('resumed', ({ cause }) => told.push(`resumed ${cause}`))
  const leases = {
    intervalMs: 1000,
    buckets: [],
    get usable() {
      return kept.usable
    },
    keep: async () => {
      if (kept.away) throw new Error('connection refused')
    },
    leave: async () => {},
  }
  const stopping = new AbortController()
  const signals = { stopping: stopping.signal, deadline: new AbortController().signal }
  const engine = { leases, database: new DatabaseOutage(listeners) } as unknown as RelayEngine
  const held = whileHolding(
    { engine, bell: new Bell(clock), clock, logger },
    signals,
    () => new Promise<void>((end) => signals.stopping.addEventListener('abort', () => end())),
  )
  const next = () => clock.advance(1000)
  const end = () => {
    stopping.abort()
    return held
  }
  return { told, next, end }
}

const [gone, back] = [expect.stringContaining('could not renew its leases'), 'The relay can renew its leases again']

test('leases that cannot be renewed are logged once for each outage, and their return too', async () => {
  const kept = { away: false, usable: true }
  const { told, next, end } = keepLeases(kept)
  for (const away of [false, true, true, true, false, false, true, true, false]) {
    kept.away = away
    await next()
  }
  await end()
  expect(told).toEqual([gone, back, gone, back])
})

test('leases that cannot be renewed pause the relay once none is good for a publish, until they are', async () => {
  const kept = { away: true, usable: true }
  const { told, next, end } = keepLeases(kept)
  await next()
  expect(told).toEqual([gone])
  kept.usable = false
  await next()
  await next()
  expect(told).toEqual([gone, 'paused: connection refused'])
  kept.away = false
  await next()
  expect(told).toEqual([gone, 'paused: connection refused', 'resumed database', back])
  await end()
})
