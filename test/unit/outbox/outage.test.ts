import { expect, test } from 'vitest'
import { Outage } from '../../../src/outbox/relay/outage.ts'
import { relayListeners } from '../../../src/outbox/relay/relay-events.ts'
import { MemoryLogger } from '../../support/memory-logger.ts'

test('behind a probe of which nothing was tried the next one waits as long as ever', () => {
  let now = 0
  const outage = new Outage({ now: () => now, wait: async () => undefined }, relayListeners(new MemoryLogger()))
  outage.began(outage.admit(), new Error('away'), false)
  expect(outage.open).toBe(true)
  now = 1001
  // The lease had too little left, so that no event was handed over.
  outage.unused(outage.admit())
  expect(outage.probing).toBe(true)
  outage.began(outage.admit(), new Error('still away'), false)
  expect(outage.open).toBe(true)
})

test('its end is told once when its begin was, also by a run before, and not when it was not', () => {
  const told: string[] = []
  const open = (before?: boolean) => {
    const listeners = relayListeners(new MemoryLogger())
    listeners.on('paused', () => told.push('paused'))
    listeners.on('resumed', () => told.push('resumed'))
    return new Outage({ now: () => 0, wait: async () => undefined }, listeners, before)
  }
  const outage = open()
  outage.ended()
  // A stop cut the publishing off.
  outage.began(outage.admit(), new Error('stopped'), true)
  outage.ended()
  expect(told).toEqual([])
  outage.began(outage.admit(), new Error('away'), false)
  expect(told).toEqual(['paused'])
  const next = open(true)
  next.ended()
  next.ended()
  expect(told).toEqual(['paused', 'resumed'])
})
