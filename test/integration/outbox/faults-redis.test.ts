import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { afterEach, describe, expect, test } from 'vitest'
import { findInversion } from '../../support/relay-process.ts'
import { openRelayToRedis, placeOf, type RelayToRedis, redisPublishers } from '../../support/relay-to-redis.ts'

/** Longer than several probes, one a second. */
const outageMs = process.env.SOAK === '1' ? 60_000 : 3500

let ground: RelayToRedis
afterEach(() => ground.close())

describe.each(redisPublishers)('a relay to %s', (kind) => {
  test('that stands still (SIGSTOP) for many probes delivers everything when it goes on', { timeout: 120_000 }, async () => {
    ground = await openRelayToRedis(kind)
    ground.server.freeze()
    await ground.write()
    await ground.paused()
    await ground.write()
    await delay(outageMs)
    ground.server.thaw()
    await ground.delivered()
    await ground.allArrived()
  })

  test('behind a network that stands still delivers everything when it goes on', { timeout: 120_000 }, async () => {
    ground = await openRelayToRedis(kind)
    ground.proxy.stall()
    await ground.write()
    await ground.paused()
    await ground.write()
    await delay(outageMs)
    ground.proxy.resume()
    await ground.delivered()
    await ground.allArrived()
  })

  test('whose connections look open and are dead reaches it by a new one', { timeout: 120_000 }, async () => {
    ground = await openRelayToRedis(kind)
    ground.proxy.stall()
    await ground.write()
    await ground.paused()
    ground.proxy.cut()
    ground.proxy.resume()
    await ground.delivered()
    await ground.allArrived()
  })

  test('whose confirmations get lost says so of none that it did not see', { timeout: 120_000 }, async () => {
    ground = await openRelayToRedis(kind)
    for (let round = 0; round < 5; round++) {
      const { published } = ground.relay.status()
      await ground.write()
      await expect.poll(() => ground.relay.status().published, { interval: 1, timeout: 20_000 }).toBeGreaterThan(published)
      ground.proxy.cut()
    }
    await ground.allArrived()
  })

  test.each(['stop', 'crash'] as const)(
    'that is away for many probes by a %s spends no attempt, and goes on when it is back',
    { timeout: 120_000 },
    async (end) => {
      ground = await openRelayToRedis(kind)
      await ground.server[end]()
      await ground.write()
      await ground.paused()
      await ground.write()
      await delay(outageMs)
      await ground.server.start()
      await ground.delivered()
      if (kind === 'Redis Streams') return ground.allArrived()
      // Pub/Sub keeps nothing for a subscriber that is not back yet; what it hears is in order.
      const last = new Map<string, number>()
      for (const { key, payload } of await ground.arrived()) {
        expect(Number(payload)).toBeGreaterThanOrEqual(last.get(key) ?? 0)
        last.set(key, Number(payload))
      }
    },
  )

  test('that is refused single commands of a batch retries those alone, and holds back their keys', async () => {
    const place = placeOf(kind)
    ground = await openRelayToRedis(kind, {
      place: ({ aggregateId, payload }) => (aggregateId === 'b' && payload === 4 ? 'no-entry' : place),
      retry: { attempts: 50, baseMs: 50, maxMs: 100 },
    })
    // All connections are of this user, which may do everything but there.
    const { admin, relay } = ground
    const patterns = [`~${place}`, `~{${place}}:published`, `&${place}`]
    await admin.call('ACL', 'SETUSER', 'default', 'resetkeys', 'resetchannels', ...patterns)
    const retried: number[] = []
    relay.on('retried', ({ attempts }) => void retried.push(attempts))
    await ground.write()
    await expect.poll(() => retried.length, { timeout: 20_000 }).toBeGreaterThan(2)
    const heard = async (key: string) => (await ground.arrived()).filter((delivery) => delivery.key === key)
    await expect.poll(async () => (await heard('a')).length + (await heard('c')).length, { timeout: 10_000 }).toBe(12)
    expect((await heard('b')).map(({ payload }) => payload)).toEqual([0, 1, 2, 3])
    expect(relay.status()).toMatchObject({ paused: undefined, deadLettered: 0 })
    await admin.call('ACL', 'SETUSER', 'default', 'allkeys', 'allchannels')
    await expect.poll(async () => (await heard('b')).map(({ payload }) => payload), { timeout: 10_000 }).toEqual([0, 1, 2, 3, 5])
    expect(findInversion((await ground.arrived()).filter(({ key }) => key !== 'b'))).toBeUndefined()
    await expect.poll(() => relay.status().published, { timeout: 10_000 }).toBe(18)
  })
})

/** States of a server in which it answers, and refuses every entry of a stream; how it gets there, and how it comes back. */
const states: Readonly<Record<string, { begin(admin: Redis): Promise<unknown>; end(admin: Redis): Promise<unknown> }>> = {
  'is full (OOM)': {
    begin: async (admin) => {
      await admin.config('SET', 'maxmemory-policy', 'noeviction')
      await admin.config('SET', 'maxmemory', '1')
    },
    end: (admin) => admin.config('SET', 'maxmemory', '0'),
  },
  'became a replica (READONLY)': {
    begin: (admin) => admin.replicaof('127.0.0.1', '1'),
    end: (admin) => admin.replicaof('NO', 'ONE'),
  },
  'became a replica that serves nothing (MASTERDOWN)': {
    begin: async (admin) => {
      await admin.config('SET', 'replica-serve-stale-data', 'no')
      await admin.replicaof('127.0.0.1', '1')
    },
    end: (admin) => admin.replicaof('NO', 'ONE'),
  },
  'has lost its replicas (NOREPLICAS)': {
    begin: (admin) => admin.config('SET', 'min-replicas-to-write', '1'),
    end: (admin) => admin.config('SET', 'min-replicas-to-write', '0'),
  },
  'runs a script without end (BUSY)': {
    begin: async (admin) => {
      await admin.config('SET', 'busy-reply-threshold', '50')
      const other = admin.duplicate()
      other.eval('while true do end', 0).then(
        () => {},
        () => other.disconnect(),
      )
    },
    end: (admin) => admin.script('KILL'),
  },
}

describe('a relay to Redis Streams', () => {
  test.each(Object.keys(states))(
    'whose Redis %s waits, spends no attempt, and goes on when it may write',
    { timeout: 120_000 },
    async (state) => {
      ground = await openRelayToRedis('Redis Streams')
      await states[state]?.begin(ground.admin)
      await ground.write()
      await ground.paused()
      await ground.write()
      await delay(outageMs)
      await states[state]?.end(ground.admin)
      await ground.delivered()
      await ground.allArrived()
    },
  )
})
