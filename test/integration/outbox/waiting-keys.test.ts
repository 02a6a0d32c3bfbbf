import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { DataAccessExtension } from '../../../src/extension.ts'
import { type Clock, monotonicClock } from '../../../src/kernel/clock.ts'
import { silentLogger } from '../../../src/kernel/logger.ts'
import { Outbox } from '../../../src/outbox/outbox.ts'
import { dialects } from '../../support/databases.ts'
import { outboxGround } from '../../support/outbox-ground.ts'

const pollInterval = { min: 5, max: 50 }

describe.each(dialects)('on %s a key that waits', (dialect) => {
  const ground = outboxGround(dialect)

  test.each(['is delayed', 'has failed once'])(
    'and %s is published although many others fail for long',
    { timeout: 60_000 },
    async (how) => {
      const { bench } = ground
      for (let n = 0; n < 60; n++) await bench.record(`bad${n}`, ['bad'])
      let tries = 0
      const published: unknown[] = []
      const relay = bench.outbox.relay({
        batchSize: 20,
        pollInterval,
        retry: { attempts: 1000, baseMs: 20, maxMs: 100 },
        publisher: async ({ payload }) => {
          if (payload === 'good') {
            if (how === 'has failed once' && tries++ === 0) throw new Error('not now')
            published.push(payload)
            return
          }
          // A receiver that hangs takes longer to fail than a key waits for its next try.
          await delay(150)
          throw new Error('hangs')
        },
      })
      await relay.start()
      await bench.record('good', ['good'], how === 'is delayed' ? { availableAt: new Date(Date.now() + 1000) } : {})
      await expect.poll(() => published, { timeout: 30_000 }).toEqual(['good'])
      await relay.stop()
    },
  )

  test('is published when its time has come, although the machine was suspended and its clock stood still', {
    timeout: 60_000,
  }, async () => {
    const { bench } = ground
    const { guard, wake, events } = DataAccessExtension.of(bench.data.orm)
    let suspended: number | undefined
    const clock: Clock = { ...monotonicClock, now: () => suspended ?? performance.now() }
    const outbox = new Outbox({ orm: bench.data.orm, guard, wake, definitions: events, clock, logger: silentLogger })
    const published: unknown[] = []
    const relay = outbox.relay({ publisher: ({ payload }) => void published.push(payload), pollInterval })
    await relay.start()
    await bench.record('a', [1], { availableAt: new Date(Date.now() + 3000) })
    await bench.record('b', [2])
    await expect.poll(() => published, { timeout: 20_000 }).toEqual([2])
    suspended = performance.now()
    await expect.poll(() => published, { timeout: 30_000 }).toEqual([2, 1])
    await relay.stop()
  })
})
