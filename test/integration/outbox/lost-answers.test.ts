import { beforeEach, describe, expect, test } from 'vitest'
import { placeKey } from '../../../src/outbox/event/ordering-key.ts'
import type { OutboxEvent } from '../../../src/outbox/publishing/publisher.ts'
import { LeaseStore } from '../../../src/outbox/store/lease-store.ts'
import { ManualClock } from '../../../src/testing/manual-clock.ts'
import { dialects } from '../../support/databases.ts'
import { ids, leaseGround, leaseMs } from '../../support/lease-ground.ts'
import type { OutboxUnderTest } from '../../support/outbox-bench.ts'

const all = Array.from({ length: 64 }, (_, bucket) => bucket)

/** A store that fails a statement once: before it is carried out, or after, so that only its answer is lost. */
class LossyStore extends LeaseStore {
  fail: { readonly statement: 'claim' | 'release'; readonly when: 'before' | 'after' } | undefined
  /** Called while a release is on its way. */
  releasing: () => void = () => {}

  override async claim(...args: Parameters<LeaseStore['claim']>) {
    return this.#lossy('claim', () => super.claim(...args))
  }

  override async release(...args: Parameters<LeaseStore['release']>) {
    this.releasing()
    return this.#lossy('release', () => super.release(...args))
  }

  async #lossy<Result>(statement: string, run: () => Promise<Result>): Promise<Result> {
    const { fail } = this
    if (fail?.statement !== statement) return run()
    this.fail = undefined
    if (fail.when === 'after') await run()
    throw new Error('read ECONNRESET')
  }
}

describe.each(dialects)('a relay on %s whose database does not answer', (dialect) => {
  const ground = leaseGround(dialect)
  let clock: ManualClock
  let lost: number[]

  beforeEach(() => {
    clock = new ManualClock()
    lost = []
  })

  const open = (id: string) => {
    const store = new LossyStore(ground.outboxStore())
    const leases = ground.leases(id, { store, clock, onLost: (buckets) => void lost.push(...buckets) })
    return { store, leases }
  }
  const owned = async (id: string) => {
    const rows = await ground.bench.sql<{ bucket: number }>('select bucket from outbox_leases where owner = ? order by bucket', [
      id,
    ])
    return rows.map(({ bucket }) => bucket)
  }
  const epochs = async () => {
    const rows = await ground.bench.sql<{ epoch: number | string }>('select epoch from outbox_leases order by bucket')
    return rows.map(({ epoch }) => Number(epoch))
  }

  test('knows with its next sign of life what a claim has brought it', async () => {
    const [one, two] = [open(ids.one), open(ids.two)]
    await two.leases.join()
    await one.leases.join()
    await two.leases.leave()
    one.store.fail = { statement: 'claim', when: 'after' }
    await expect(one.leases.keep()).rejects.toThrow('ECONNRESET')
    expect(await owned(ids.one)).toEqual(all)
    expect(one.leases.buckets.length).toBeLessThan(64)
    await one.leases.keep()
    expect(one.leases.buckets).toEqual(all)
    expect(all.map((bucket) => one.leases.epochOf(bucket))).toEqual(await epochs())
    expect(all.every((bucket) => one.leases.safe(bucket))).toBe(true)
    expect(lost).toEqual([])
  })

  test('knows it also when the claim is carried out late, and it knew of no bucket before', async () => {
    const [one, two] = [open(ids.one), open(ids.two)]
    await two.leases.join()
    await one.leases.join()
    await two.leases.leave()
    await one.store.claim(ids.one, 64, leaseMs)
    expect(one.leases.buckets).toEqual([])
    await clock.advance(leaseMs / 3)
    await one.leases.keep()
    expect(one.leases.buckets).toEqual(all)
  })

  test('hands over what a failed release left with it, and publishes nothing of that meanwhile', async () => {
    const [one, two] = [open(ids.one), open(ids.two)]
    await one.leases.join()
    await two.leases.join()
    one.store.fail = { statement: 'release', when: 'before' }
    await expect(one.leases.keep()).rejects.toThrow('ECONNRESET')
    expect(await owned(ids.one)).toEqual(all)
    const surplus = all.slice(32)
    expect(one.leases.buckets).toEqual(all.slice(0, 32))
    expect(surplus.some((bucket) => one.leases.safe(bucket))).toBe(false)
    // Renewed or not, they go.
    await clock.advance(leaseMs / 3)
    await one.leases.keep()
    await two.leases.keep()
    expect(await owned(ids.one)).toEqual(all.slice(0, 32))
    expect(two.leases.buckets).toEqual(surplus)
  })

  test('does not keep what a release may still take away, although it has become its share again', async () => {
    const [one, two] = [open(ids.one), open(ids.two)]
    await one.leases.join()
    await two.leases.join()
    one.store.fail = { statement: 'release', when: 'before' }
    await expect(one.leases.keep()).rejects.toThrow('ECONNRESET')
    const before = await epochs()
    await two.leases.leave()
    await one.leases.keep()
    // The first look counted what was free before the release.
    await one.leases.keep()
    expect(one.leases.buckets).toEqual(all)
    expect(await epochs()).toEqual(before.map((epoch, bucket) => (bucket < 32 ? epoch : epoch + 1)))
    // The statement of which nobody heard arrives in the end.
    const late = all.slice(32).map((bucket) => ({ bucket, epoch: before[bucket] as number }))
    await one.store.release(ids.one, late)
    expect(await owned(ids.one)).toEqual(all)
  })

  test('misses nothing of what it released when only the answer was lost', async () => {
    const [one, two] = [open(ids.one), open(ids.two)]
    await one.leases.join()
    await two.leases.join()
    one.store.fail = { statement: 'release', when: 'after' }
    await expect(one.leases.keep()).rejects.toThrow('ECONNRESET')
    await two.leases.keep()
    await clock.advance(leaseMs / 3)
    await one.leases.keep()
    expect(one.leases.buckets).toEqual(all.slice(0, 32))
    expect(two.leases.buckets).toEqual(all.slice(32))
    expect(await owned(ids.two)).toEqual(all.slice(32))
    expect(lost).toEqual([])
  })

  test('begins no publish on a bucket while its release is on its way', async () => {
    const [one, two] = [open(ids.one), open(ids.two)]
    await one.leases.join()
    await two.leases.join()
    const safe: number[] = []
    one.store.releasing = () => void safe.push(...all.filter((bucket) => one.leases.safe(bucket)))
    one.leases.hold([40])
    await one.leases.keep()
    // What is in hand is published to its end before it goes.
    expect(safe).toEqual([...all.slice(0, 32), 40])
  })

  test('publishes all events in order, whatever answer it did not get', { timeout: 60_000 }, async () => {
    const beside = await ground.openBeside()
    try {
      const seen: unknown[] = []
      const publisher = ({ aggregateId, payload }: OutboxEvent) => void seen.push(`${aggregateId} ${payload}`)
      const timing = { publishTimeout: 500, lease: 1500, pollInterval: { min: 5, max: 50 } }
      const [first, second] = [ground.bench, beside].map(({ outbox }) => outbox.relay({ publisher, ...timing })) as [Relay, Relay]
      const until = (condition: () => boolean) => expect.poll(condition, { interval: 10, timeout: 20_000 }).toBe(true)
      // A key in each bucket.
      const keys = new Map<number, string>()
      for (let n = 0; keys.size < 64; n++) keys.set(placeKey(`Note:${n}`).bucket, String(n))
      const record = async (payload: number) => {
        for (const key of keys.values()) await beside.record(key, [payload])
      }
      await first.start()
      const releases = loseOnce(ground.bench, /^update outbox_leases set owner = null/)
      await second.start()
      await releases.lost
      await record(1)
      await until(() => seen.length === 64)
      await until(() => second.status().buckets.length === 32)
      const claims = loseOnce(ground.bench, /^update outbox_leases set owner = \?, epoch/)
      await second.stop()
      await record(2)
      await claims.lost
      await record(3)
      await until(() => seen.length === 192)
      expect(first.status().buckets).toEqual(all)
      for (const key of keys.values()) {
        expect(seen.filter((text) => String(text).startsWith(`${key} `))).toEqual([1, 2, 3].map((payload) => `${key} ${payload}`))
      }
    } finally {
      await beside.close()
    }
  })
})

type Relay = ReturnType<OutboxUnderTest['outbox']['relay']>

/** Carries the next statement that matches out, and loses its answer. */
function loseOnce({ data }: OutboxUnderTest, pattern: RegExp): { readonly lost: Promise<void> } {
  const connection = data.orm.driver.getConnection('write')
  const execute = connection.execute.bind(connection)
  const { promise, resolve } = Promise.withResolvers<void>()
  connection.execute = (async (...args: Parameters<typeof execute>) => {
    const result = await execute(...args)
    if (!pattern.test(String(args[0]))) return result
    connection.execute = execute
    resolve()
    throw Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' })
  }) as typeof execute
  return { lost: promise }
}
