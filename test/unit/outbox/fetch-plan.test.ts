import { describe, expect, test } from 'vitest'
import { FetchPlan } from '../../../src/outbox/relay/fetch-plan.ts'
import type { StoredEvent } from '../../../src/outbox/store/stored-event.ts'
import { Watermark } from '../../../src/outbox/store/watermark.ts'
import { storedEvent } from '../../support/stored-event.ts'

const far = 1_000_000n

function row(sequence: number, orderingKey: string | null, bucket = 1, waitMs = 0): StoredEvent {
  return storedEvent({ sequence: BigInt(sequence), orderingKey, bucket, waitMs })
}

function openPlan(): FetchPlan {
  const plan = new FetchPlan(100)
  plan.own(new Map([[1, 1]]))
  plan.request([], 0)
  return plan
}
const afterOf = (plan: FetchPlan, now = 1) => plan.request([], now).shares[0]?.after
/** A moment of a machine whose clocks tell the same. */
const at = (now: number) => ({ now, wall: now })
const sequences = (rows: readonly StoredEvent[]) => rows.map(({ sequence }) => Number(sequence))

describe('fetch plan', () => {
  test('a delayed head parks its key, and only its key', () => {
    const plan = openPlan()
    const rows = [row(1, 'a', 1, 50), row(2, 'a'), row(3, 'b'), row(4, null, 1, 50), row(5, null)]
    expect(sequences(plan.take(rows, plan.request([], 1), at(1), far).ready)).toEqual([3, 5])
    expect(plan.parked.due(at(50), 10)).toEqual([])
    expect(plan.parked.due(at(51), 10).map(({ id }) => id)).toEqual(['id-1', 'id-4'])
  })

  test('a bucket is read on from where it was, but never past the watermark', () => {
    const plan = openPlan()
    const take = (rows: StoredEvent[], watermark: bigint) => plan.take(rows, plan.request([], 1), at(1), watermark)
    take([row(1, 'a', 1, 50), row(9, 'b')], 5n)
    expect(afterOf(plan)).toBe(5n)
    // A full reading may have left something out behind its last row.
    take(
      Array.from({ length: 101 }, (_, n) => row(10 + n, `k${n}`)),
      1000n,
    )
    expect(afterOf(plan)).toBe(109n)
    take([row(120, 'b')], 1000n)
    expect(afterOf(plan)).toBe(1000n)
    take([], 999n)
    expect(afterOf(plan)).toBe(1000n)
  })

  test('buckets are read from their beginning again, the more rarely the longer it takes', () => {
    const plan = openPlan()
    const read = (now: number, tookMs: number) => {
      const request = plan.request([], now)
      plan.take([], request, at(now), far, tookMs)
      return request.shares[0]?.after
    }
    expect(read(1, 1)).toBe(0n)
    expect(read(2, 1)).toBe(far)
    expect(read(1000, 500)).toBe(0n)
    expect(read(2000, 1)).toBe(0n)
    expect(read(11_999, 1)).toBe(far)
    expect(read(12_000, 1)).toBe(0n)
    expect(read(13_000, 1)).toBe(0n)
  })

  test('a redriven letter before a head that waits is the head of its key', () => {
    const plan = openPlan()
    plan.take([row(5, 'a', 1, 5000), row(7, 'b', 1, 5000)], plan.request([], 1), at(1), far)
    expect(plan.parked.places()).toEqual([
      { key: 'a', bucket: 1, head: 5n },
      { key: 'b', bucket: 1, head: 7n },
    ])
    plan.meet([row(2, 'a'), row(3, 'a')], at(1))
    expect(plan.parked.due(at(1), 10)).toEqual([{ lane: 'key a', id: 'id-2', sequence: 2n }])
    plan.free('key a', 2n)
    expect(afterOf(plan)).toBe(1n)
  })

  test('a key that goes on is read from its head again', () => {
    const plan = openPlan()
    plan.take([row(3, 'a', 1, 50), row(9, 'b')], plan.request([], 1), at(1), far)
    plan.free('key a', 3n)
    expect(afterOf(plan)).toBe(2n)
  })

  test('a key that waits for a later event goes on waiting', () => {
    const plan = openPlan()
    plan.take([row(3, 'a', 1, 50), row(9, 'b')], plan.request([], 1), at(1), far)
    plan.free('key a', 2n)
    expect(plan.parked.has('key a')).toBe(true)
    expect(afterOf(plan)).toBe(far)
  })

  test('what is in hand is left out', () => {
    const plan = openPlan()
    plan.take([row(3, 'a'), row(9, 'b')], plan.request([], 1), at(1), 0n)
    expect(plan.request([3n], 1)).toMatchObject({ shares: [{ bucket: 1, after: 0n }], exceptSequences: [3n] })
  })

  test('a bucket that was another relay’s meanwhile is known no longer', () => {
    const plan = openPlan()
    plan.take([row(3, 'a', 1, 50), row(9, 'b')], plan.request([], 1), at(1), far)
    expect(plan.own(new Map([[1, 1]]))).toBe(false)
    expect(afterOf(plan)).toBe(far)
    expect(plan.own(new Map([[1, 3]]))).toBe(true)
    expect(afterOf(plan)).toBe(0n)
    expect(plan.parked.size).toBe(0)
  })

  test('keys held by dead letters wait until nothing holds them', () => {
    const plan = openPlan()
    plan.syncBlocked([
      { orderingKey: 'a', bucket: 1 },
      { orderingKey: 'elsewhere', bucket: 2 },
    ])
    const { ready } = plan.take([row(3, 'a'), row(4, 'b')], plan.request([], 1), at(1), far)
    expect(sequences(ready)).toEqual([4])
    expect(plan.request([], 1).exceptKeys).toEqual(['a'])
    plan.syncBlocked([])
    expect(afterOf(plan)).toBe(0n)
    expect(plan.parked.size).toBe(0)
  })

  test('what was read in vain makes the next reading larger, so that no key starves behind it', () => {
    const plan = openPlan()
    const before = plan.request([], 1)
    plan.take([row(1, 'a', 1, 50), ...Array.from({ length: 40 }, (_, n) => row(2 + n, 'a'))], before, at(1), 0n)
    const after = plan.request([], 1)
    expect(after.quota).toBe(before.quota + 41)
    expect(after.limit).toBe(before.limit + 41)
  })

  test('a larger reading that finds nothing in vain gives no larger batch, and what it leaves is read again', () => {
    const plan = new FetchPlan(10)
    plan.own(
      new Map([
        [1, 1],
        [2, 1],
      ]),
    )
    const waiting = Array.from({ length: 10 }, (_, n) => row(1 + n, `w${n}`, 1, 5000))
    expect(plan.take(waiting, plan.request([], 1), at(1), far)).toEqual({ ready: [], more: true })
    const request = plan.request([], 1)
    expect(request.limit).toBe(20)
    const rows = Array.from({ length: 20 }, (_, n) => row(11 + n, `k${n}`, n < 5 ? 1 : 2))
    const { ready, more } = plan.take(rows, request, at(1), far)
    expect(sequences(ready)).toEqual([11, 12, 13, 14, 15, 16, 17, 18, 19, 20])
    expect(more).toBe(true)
    expect(plan.request([], 1).shares).toEqual([
      { bucket: 1, after: 15n },
      { bucket: 2, after: 20n },
    ])
  })

  /** The limits of so many readings that bring nothing but events which wait. */
  const limitsInVain = (plan: FetchPlan, readings: number, watermark: bigint) => {
    plan.own(new Map([[1, 1]]))
    return Array.from({ length: readings }, () => {
      const request = plan.request([], 1)
      const first = Number(request.shares[0]?.after) + 1
      const rows = Array.from({ length: request.limit }, (_, n) => row(first + n, `w${first + n}`, 1, 5000))
      plan.take(rows, request, at(1), watermark)
      return request.limit
    })
  }

  test('readings grow twofold while all is in vain, up to a limit, and shrink when there is no more', () => {
    const plan = new FetchPlan(10)
    const limits = limitsInVain(plan, 12, far)
    expect(limits.slice(0, 5)).toEqual([10, 20, 40, 80, 160])
    expect(limits.at(-1)).toBe(10_010)
    plan.take([], plan.request([], 1), at(1), far)
    expect(plan.request([], 1).limit).toBe(10)
  })

  test('readings of the largest batch grow by one batch, and no further while what they read may be passed over', () => {
    expect(new Set(limitsInVain(new FetchPlan(10_000), 4, far))).toEqual(new Set([10_000, 20_000]))
    // What is above the watermark is read again: only a larger reading gets behind it.
    expect(limitsInVain(new FetchPlan(10_000), 4, 0n)).toEqual([10_000, 20_000, 30_000, 40_000])
  })

  test('what must wait behind the last event of a batch is not passed over', () => {
    const plan = new FetchPlan(2)
    plan.own(new Map([[1, 1]]))
    plan.take([row(1, 'w', 1, 5000), row(2, 'v', 1, 5000)], plan.request([], 1), at(1), far)
    const rows = [row(3, 'a'), row(4, 'x', 1, 5000), row(5, 'b'), row(6, 'c')]
    const { ready } = plan.take(rows, plan.request([], 1), at(1), far)
    expect(sequences(ready)).toEqual([3, 5])
    expect(plan.parked.has('key x')).toBe(true)
    expect(afterOf(plan)).toBe(5n)
  })

  test('a crowded bucket gets half of a batch, and two get a third each: the rest is for what comes behind them', () => {
    const plan = new FetchPlan(640)
    plan.own(new Map(Array.from({ length: 64 }, (_, bucket) => [bucket, 1])))
    const request = plan.request([], 1)
    expect(request.quota).toBe(10)
    const crowd = (bucket: number, many: number) =>
      Array.from({ length: many }, (_, n) => row(bucket * 1000 + n, `k${n}`, bucket))
    expect(plan.take(crowd(1, 10), request, at(1), far).more).toBe(true)
    const second = plan.request([], 1)
    expect(second.quota).toBe(320)
    plan.take([...crowd(1, 320), ...crowd(2, 320)], second, at(1), far)
    expect(plan.request([], 1).quota).toBe(214)
  })
})

describe('watermark', () => {
  test('a sampled number is trusted once everybody who could have a lower one has ended', () => {
    const mark = new Watermark()
    mark.add({ last: 10n, holders: [] })
    expect(mark.value).toBe(0n)
    // Whoever had drawn a number up to 10 and still runs is among these.
    mark.add({ last: 20n, holders: ['a', 'b'] })
    expect(mark.value).toBe(0n)
    mark.add({ last: 30n, holders: ['b', 'c'] })
    expect(mark.value).toBe(0n)
    mark.add({ last: 40n, holders: ['c', 'a'] })
    expect(mark.value).toBe(10n)
  })

  test('moves with each sample while nobody holds a key for long', () => {
    const mark = new Watermark()
    for (const last of [10n, 20n, 30n]) mark.add({ last, holders: [] })
    expect(mark.value).toBe(20n)
  })
})
