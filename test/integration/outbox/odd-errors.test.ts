import { describe, expect, test } from 'vitest'
import { dialects } from '../../support/databases.ts'
import { outboxGround } from '../../support/outbox-ground.ts'

const throwing = (property: 'message' | 'cause') =>
  Object.defineProperty(new Error('odd'), property, {
    get: () => {
      throw new Error(`no ${property}`)
    },
  })
const odd: Readonly<Record<string, () => unknown>> = {
  'an error whose message throws': () => throwing('message'),
  'an error whose message has no words': () => Object.assign(new Error('odd'), { message: Object.create(null) }),
  'an error whose cause throws': () => throwing('cause'),
  'a proxy that was revoked': () => {
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    return proxy
  },
}

describe.each(dialects)('a relay on %s', (dialect) => {
  const ground = outboxGround(dialect)

  test.each(Object.keys(odd))('counts %s as a failed try, and goes on', async (kind) => {
    const { bench } = ground
    await bench.record('odd', ['odd'])
    const relay = bench.outbox.relay({
      publisher: ({ payload }) => {
        if (payload === 'odd') throw odd[kind]?.()
      },
      retry: { attempts: 3, baseMs: 1, maxMs: 5 },
      pollInterval: { min: 5, max: 50 },
    })
    const pauses: unknown[] = []
    relay.on('paused', ({ cause }) => void pauses.push(cause))
    await relay.start()
    await expect.poll(() => relay.status().deadLettered, { timeout: 5000 }).toBe(1)
    await bench.record('good', ['good'])
    await expect.poll(() => relay.status().published, { timeout: 5000 }).toBe(1)
    await relay.stop()
    expect(pauses).toEqual([])
    expect(await bench.outbox.deadLetters.list()).toMatchObject([
      { aggregateId: 'odd', error: expect.stringContaining('cannot be put into words') },
    ])
  })
})
