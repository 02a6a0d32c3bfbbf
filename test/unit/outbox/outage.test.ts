import { expect, test } from 'vitest'
import { DatabaseOutage, Outage } from '../../../src/outbox/relay/outage.ts'
import { relayListeners } from '../../../src/outbox/relay/relay-events.ts'
import { MemoryLogger } from '../../support/memory-logger.ts'

test('behind a probe of which nothing was tried the next one waits as long as ever', () => {
  let now = 0
  const outage = new Outage({ now: () => now, wait: async () => undefined }, relayListeners(new MemoryLogger()))
  outage.began(new Error('away'), false)
  expect(outage.open).toBe(true)
  now = 1001
  // The lease had too little left, so that no event was handed over, and nothing is told.
  expect(outage.probing).toBe(true)
  outage.began(new Error('still away'), false)
  expect(outage.open).toBe(true)
})

test('lasts as long as the publisher asks, and no shorter than ever', () => {
  let now = 0
  const outage = new Outage({ now: () => now, wait: async () => undefined }, relayListeners(new MemoryLogger()))
  outage.began(new Error('away'), false, 5000)
  expect(outage.waitMs).toBe(5000)
  now = 4999
  expect(outage.open).toBe(true)
  now = 5000
  expect(outage.probing).toBe(true)
  // The probe that fails says nothing of when to come back.
  outage.began(new Error('away'), false)
  expect([outage.open, outage.waitMs]).toEqual([true, 1000])
  now = 6000
  outage.began(new Error('away'), false, 10)
  expect(outage.waitMs).toBe(1000)
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
  outage.began(new Error('stopped'), true)
  outage.ended()
  expect(told).toEqual([])
  outage.began(new Error('away'), false)
  expect(told).toEqual(['paused'])
  const next = open(true)
  next.ended()
  next.ended()
  expect(told).toEqual(['paused', 'resumed'])
})

test('its end is told where nothing waits for the broker, and the next event is still a single try', () => {
  const told: string[] = []
  let now = 0
  const listeners = relayListeners(new MemoryLogger())
  listeners.on('paused', () => told.push('paused'))
  listeners.on('resumed', () => told.push('resumed'))
  const outage = new Outage({ now: () => now, wait: async () => undefined }, listeners)
  outage.nothingWaits()
  outage.began(new Error('away'), false)
  outage.nothingWaits()
  expect(told).toEqual(['paused'])
  now = 1001
  outage.nothingWaits()
  outage.nothingWaits()
  expect(told).toEqual(['paused', 'resumed'])
  expect(outage.probing).toBe(true)
  outage.began(new Error('still away'), false)
  expect(told).toEqual(['paused', 'resumed', 'paused'])
  expect(outage.open).toBe(true)
  expect(outage.waitMs).toBe(1000)
})

test('an outage of the database is told once, and its end when neither steps nor marks nor leases fail any more', () => {
  const told: string[] = []
  const listeners = relayListeners(new MemoryLogger())
  listeners.on('paused', ({ error }) => told.push(error.message))
  listeners.on('resumed', ({ cause }) => told.push(`resumed ${cause}`))
  const database = new DatabaseOutage(listeners)
  database.ended('step')
  database.began('mark', new Error('no right'))
  database.began('step', new Error('away'))
  database.ended('mark')
  database.began('mark', new Error('no right'))
  database.ended('step')
  expect(told).toEqual(['no right'])
  database.began('lease', new Error('no lease'))
  database.ended('mark')
  database.ended('mark')
  expect(told).toEqual(['no right'])
  expect([database.errorOf('mark'), database.errorOf('lease')]).toEqual([undefined, new Error('no lease')])
  database.ended('lease')
  expect(told).toEqual(['no right', 'resumed database'])
})
