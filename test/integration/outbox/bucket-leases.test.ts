import { beforeEach, describe, expect, test } from 'vitest'
import type { BucketLeases } from '../../../src/outbox/relay/bucket-leases.ts'
import { LeaseStore } from '../../../src/outbox/store/lease-store.ts'
import type { SignOfLife } from '../../../src/outbox/store/sign-of-life.ts'
import { ManualClock } from '../../../src/testing/manual-clock.ts'
import { dialects } from '../../support/databases.ts'
import { ids, leaseGround, leaseMs, publishTimeoutMs } from '../../support/lease-ground.ts'

/** The relays' own clock stands still until a test moves it. */
describe.each(dialects)('leases on %s', (dialect) => {
  const ground = leaseGround(dialect)
  let clock: ManualClock
  let dead: string[]

  beforeEach(() => {
    clock = new ManualClock()
    dead = []
  })

  const open = (id: string) => ground.leases(id, { clock, onDead: (found) => void dead.push(found.id) })
  /** As if the database had not heard of a relay for the length of its lease. */
  const expire = (id: string) => {
    const past = dialect === 'postgresql' ? "now() - interval '1 second'" : '0'
    return ground.bench.sql(`update outbox_relays set expires_at = ${past} where id = ?`, [id])
  }
  /** As if the database's clock, too, had gone on by so much since a relay gave its last sign of life. */
  const age = (id: string, ms: number) => {
    const earlier = dialect === 'postgresql' ? `- ${ms} * interval '1 millisecond'` : `- ${ms}`
    return ground.bench.sql(`update outbox_relays set expires_at = expires_at ${earlier} where id = ?`, [id])
  }

  test('what is taken between two signs of life is kept no longer than the last of them, for then others free it', async () => {
    const [one, two] = [open(ids.one), open(ids.two)]
    await two.join()
    await one.join()
    const before = one.buckets
    await two.leave()
    await clock.advance(0.3 * leaseMs)
    await one.keep()
    const taken = one.buckets.filter((bucket) => !before.includes(bucket))
    expect(taken.length).toBeGreaterThan(0)
    await clock.advance(0.7 * leaseMs - publishTimeoutMs)
    expect(taken.every((bucket) => one.safe(bucket))).toBe(true)
    await clock.advance(1)
    expect(taken.some((bucket) => one.safe(bucket))).toBe(false)
  })

  test('what is locked of the dead keeps nobody from the buckets that are free', async () => {
    const one = open(ids.one)
    await one.join()
    await expire(ids.one)
    await ground.bench.sql('update outbox_leases set owner = null where bucket >= 32')
    const locked = new Error('57014')
    const notTaken: unknown[] = []
    const store = Object.assign(new LeaseStore(ground.outboxStore()), { takeDead: () => Promise.reject(locked) })
    const two = ground.leases(ids.two, { clock, store, onNotTaken: (error) => void notTaken.push(error) })
    await two.join()
    expect(two.buckets).toHaveLength(32)
    expect(notTaken).toEqual([locked])
  })

  test('a pause that begins while a sign of life is on its way is told by the next', async () => {
    const pause = { cause: 'publisher', since: new Date(0), error: 'away' } as const
    const sign: { rates: SignOfLife['rates']; paused: SignOfLife['paused'] } = {
      rates: { published: 0, retried: 0, deadLettered: 0 },
      paused: undefined,
    }
    const store = new LeaseStore(ground.outboxStore())
    const told: unknown[] = []
    const heartbeat = store.heartbeat.bind(store)
    store.heartbeat = async (relay, lease, given) => {
      told.push(given?.paused)
      const beat = heartbeat(relay, lease, given)
      sign.paused = pause
      await beat
    }
    const one = ground.leases(ids.one, { clock, store, signOfLife: () => sign })
    await one.join()
    await one.keep()
    await one.keep()
    expect(told).toEqual([undefined, pause])
  })

  test('a write that is refused while a claim is on its way is asked about all the same', async () => {
    const store = new LeaseStore(ground.outboxStore())
    const one = ground.leases(ids.one, { clock, store })
    const two = open(ids.two)
    await two.join()
    await one.join()
    await two.keep()
    await one.keep()
    const [bucket] = one.buckets as [number]
    expect(bucket).toBeDefined()
    await two.leave()
    const claim = store.claim.bind(store)
    store.claim = async (...args) => {
      const claimed = await claim(...args)
      one.refused(bucket, one.epochOf(bucket) as number)
      return claimed
    }
    await one.keep()
    expect(one.buckets).not.toContain(bucket)
    store.claim = claim
    await one.keep()
    // The database knows it as ours: the refusal had another reason.
    expect(one.buckets).toContain(bucket)
  })

  test.each([0.42, 0.9, 1.5])('who was away for %d of a lease gives the others one lease to come back', async (away) => {
    const [one, two] = [open(ids.one), open(ids.two)]
    await one.join()
    await two.join()
    await one.keep()
    await clock.advance(away * leaseMs)
    await expire(ids.one)
    await two.keep()
    for (let tenth = 1; tenth < 10; tenth++) {
      await clock.advance(0.1 * leaseMs)
      await two.keep()
    }
    expect(dead).toEqual([])
    await clock.advance(0.2 * leaseMs)
    await two.keep()
    expect(dead).toEqual([ids.one])
  })

  test('who was there all the time takes the dead at once', async () => {
    const [one, two] = [open(ids.one), open(ids.two)]
    await one.join()
    await two.join()
    for (let later = 0; later < 6; later++) {
      expect(dead).toEqual([])
      await clock.advance(0.17 * leaseMs)
      await age(ids.one, 0.17 * leaseMs)
      await two.keep()
    }
    expect(dead).toEqual([ids.one])
    expect(two.buckets.length).toBe(64)
    expect(await ground.bench.sql('select relay from outbox_progress')).toEqual([{ relay: ids.two }])
  })

  describe('when the clock of the database is set forward', () => {
    /** By two leases. */
    const setForward = async () => {
      for (const id of Object.values(ids)) await age(id, 2 * leaseMs)
      const earlier = dialect === 'postgresql' ? `- ${2 * leaseMs} * interval '1 millisecond'` : `- ${2 * leaseMs}`
      await ground.bench.sql(`update outbox_leases set leased_until = leased_until ${earlier}`)
    }
    const live = async () => (await new LeaseStore(ground.outboxStore()).look()).live.map(({ id }) => id)
    let lost: number[]
    let one: BucketLeases
    let two: BucketLeases

    beforeEach(async () => {
      lost = []
      const openLosing = (id: string) =>
        ground.leases(id, { clock, onDead: (found) => void dead.push(found.id), onLost: (buckets) => void lost.push(...buckets) })
      one = openLosing(ids.one)
      two = openLosing(ids.two)
      await one.join()
      await two.join()
      await one.keep()
      await two.keep()
      expect([one.buckets.length, two.buckets.length]).toEqual([32, 32])
      await clock.advance(0.1 * leaseMs)
      await setForward()
    })

    test('nobody who lives is taken for dead, and each registers again with its next look', async () => {
      await two.keep()
      expect(await live()).toEqual([ids.two])
      await one.keep()
      expect(await live()).toEqual([ids.one, ids.two])
      for (let look = 0; look < 20; look++) {
        await clock.advance(0.1 * leaseMs)
        await one.keep()
        await two.keep()
      }
      expect(dead).toEqual([])
      expect(lost).toEqual([])
      expect([one.buckets.length, two.buckets.length]).toEqual([32, 32])
    })

    test('who is dead indeed is taken one lease later', async () => {
      for (let look = 0; look < 10; look++) {
        await two.keep()
        await clock.advance(0.1 * leaseMs)
      }
      expect(dead).toEqual([])
      await two.keep()
      expect(dead).toEqual([ids.one])
      expect(two.buckets.length).toBe(64)
    })
  })

  test('where every look takes long, a dead relay is taken all the same', async () => {
    const [one, two] = [open(ids.one), open(ids.two)]
    await one.join()
    await two.join()
    await expire(ids.one)
    for (let look = 0; look < 4; look++) {
      await clock.advance(0.6 * leaseMs)
      await two.keep()
    }
    expect(dead).toEqual([ids.one])
  })

  test('claims at once take no more than they asked for, each another bucket', async () => {
    const store = new LeaseStore(ground.outboxStore())
    const owners = Array.from({ length: 8 }, (_, n) => `019c0000-0000-7000-8000-00000000001${n}`)
    for (let round = 0; round < 10; round++) {
      const claimed = await Promise.all(owners.map((owner) => store.claim(owner, 7, leaseMs)))
      expect(claimed.every((buckets) => buckets.length <= 7)).toBe(true)
      const buckets = claimed.flat().map(({ bucket }) => bucket)
      expect(new Set(buckets).size).toBe(buckets.length)
      for (const owner of owners) await store.leave(owner)
    }
  })
})
