import { expect, test } from 'vitest'
import { Bell } from '../../../src/kernel/bell.ts'
import { silentLogger } from '../../../src/kernel/logger.ts'
import { DatabaseOutage } from '../../../src/outbox/relay/outage.ts'
import type { RelayEngine } from '../../../src/outbox/relay/relay-engine.ts'
import { relayListeners } from '../../../src/outbox/relay/relay-events.ts'
import { keepPublishing } from '../../../src/outbox/relay/relay-loop.ts'
import { Wake } from '../../../src/outbox/relay/wake.ts'

test('the longest wait between two polls is shorter while a wake channel is not sure', async () => {
  let sure = true
  const wake = new Wake()
  wake.join({
    send: () => {},
    listen: () => () => {},
    address: 'here',
    close: async () => {},
    get sure() {
      return sure
    },
  })
  const waits: number[] = []
  const stopping = new AbortController()
  const clock = {
    now: () => 0,
    wait: async (ms: number) => {
      waits.push(ms)
      if (waits.length === 10) sure = false
      if (waits.length === 20) stopping.abort()
    },
  }
  const engine = {
    step: async () => ({ kind: 'idle', dueInMs: Number.POSITIVE_INFINITY }),
    reset: () => {},
    marked: async () => {},
    database: new DatabaseOutage(relayListeners(silentLogger)),
  } as unknown as RelayEngine
  await keepPublishing(
    {
      engine,
      bell: new Bell(clock),
      clock,
      logger: silentLogger,
      poll: { min: 50, max: 2000 },
      wake,
    },
    { stopping: stopping.signal, deadline: stopping.signal },
  )
  // Each with up to a quarter of jitter.
  expect(waits[9]).toBeGreaterThanOrEqual(1500)
  expect(Math.max(...waits.slice(11))).toBeLessThanOrEqual(250)
})

test('a step that asked no database does not tell that it is back', async () => {
  const told: string[] = []
  const listeners = relayListeners(silentLogger)
  listeners.on('paused', ({ cause }) => told.push(`paused ${cause}`))
  listeners.on('resumed', ({ cause }) => told.push(`resumed ${cause}`))
  const stopping = new AbortController()
  const clock = { now: () => 0, wait: async () => undefined }
  const steps = [
    () => Promise.reject(new Error('away')),
    async () => ({ kind: 'paused', waitMs: 1, error: new Error('away') }),
    () => Promise.reject(new Error('away')),
    async () => ({ kind: 'busy', counts: { published: 0, retried: 0, deadLettered: 0 } }),
  ]
  const step = () => {
    told.push('step')
    const next = steps.shift()
    if (steps.length === 0) stopping.abort()
    return next?.()
  }
  const database = new DatabaseOutage(listeners)
  const engine = { step, reset: () => {}, marked: async () => {}, database } as unknown as RelayEngine
  const parts = { engine, bell: new Bell(clock), clock, logger: silentLogger, poll: { min: 50, max: 2000 }, wake: new Wake() }
  await keepPublishing(parts, { stopping: stopping.signal, deadline: new AbortController().signal })
  expect(told).toEqual(['step', 'paused database', 'step', 'step', 'step', 'resumed database'])
})
