import { describe, expect, test } from 'vitest'
import { FetchPlan } from '../../../src/outbox/fetch-plan.ts'
import type { StoredEvent } from '../../../src/outbox/outbox-store.ts'
import { Watermark } from '../../../src/outbox/watermark.ts'

const far = 1_000_000n

function row(sequence: number, orderingKey: string | null, bucket = 1, waitMs = 0): StoredEvent {
  return {
    id: `id-${sequence}`,
    type: 'T',
    aggregateType: 'A',
    aggregateId: '1',
    payloadJson: '1',
    headersJson: '{}',
    orderingKey,
    bucket,
    sequence: BigInt(sequence),
    schemaVersion: 1,
    attempts: 0,
    createdAt: new Date(0),
    waitMs,
    suspect: false,
  }
}

function openPlan(): FetchPlan {
  const plan = new FetchPlan(100)
  plan.own(new Map([[1, 1]]))
  plan.request([], 0)
  return plan
}
const afterOf = (plan: FetchPlan, now = 1) => plan.request([], now).shares[0]?.after
const sequences = (rows: readonly StoredEvent[]) => rows.map(({ sequence }) => Number(sequence))

describe('fetch plan', () => {
  test('a delayed head parks its key, and only its key', () => {
    const plan = openPlan()
    const rows = [row(1, 'a', 1, 50), row(2, 'a'), row(3, 'b'), row(4, null, 1, 50), row(5, null)]
    expect(sequences(plan.take(rows, plan.request([], 1), 1, far).ready)).toEqual([3, 5])
    expect(plan.parked.due(50, 10)).toEqual([])
    expect(plan.parked.due(51, 10).map(({ id }) => id)).toEqual(['id-1', 'id-4'])
  })

  test('parked buckets are read on from where they were, but never past the watermark', () => {
    const plan = openPlan()
    plan.take([row(1, 'a', 1, 50), row(9, 'b')], plan.request([], 1), 1, 5n)
    expect(afterOf(plan)).toBe(5n)
    plan.take([row(9, 'b')], plan.request([], 1), 1, far)
    expect(afterOf(plan)).toBe(9n)
  })

  test('a key that goes on is read from its head again', () => {
    const plan = openPlan()
    plan.take([row(3, 'a', 1, 50), row(9, 'b')], plan.request([], 1), 1, far)
    plan.free('key a')
    expect(afterOf(plan)).toBe(2n)
  })

  test('a bucket without parked keys is read from its beginning, and what is in hand is left out', () => {
    const plan = openPlan()
    plan.take([row(3, 'a'), row(9, 'b')], plan.request([], 1), 1, far)
    expect(plan.request([row(3, 'a')], 1)).toMatchObject({ shares: [{ bucket: 1, after: 0n }], exceptIds: ['id-3'] })
  })

  test('a bucket that was another relay’s meanwhile is known no longer', () => {
    const plan = openPlan()
    plan.take([row(3, 'a', 1, 50), row(9, 'b')], plan.request([], 1), 1, far)
    expect(plan.own(new Map([[1, 1]]))).toBe(false)
    expect(afterOf(plan)).toBe(9n)
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
    const { ready } = plan.take([row(3, 'a'), row(4, 'b')], plan.request([], 1), 1, far)
    expect(sequences(ready)).toEqual([4])
    expect(plan.request([], 1).exceptKeys).toEqual(['a'])
    plan.syncBlocked([])
    expect(afterOf(plan)).toBe(0n)
    expect(plan.parked.size).toBe(0)
  })

  test('what was read in vain makes the next reading larger, so that no key starves behind it', () => {
    const plan = openPlan()
    const before = plan.request([], 1)
    plan.take([row(1, 'a', 1, 50), ...Array.from({ length: 40 }, (_, n) => row(2 + n, 'a'))], before, 1, 0n)
    const after = plan.request([], 1)
    expect(after.quota).toBe(before.quota + 40)
    expect(after.limit).toBe(before.limit + 40)
  })

  test('a crowded bucket gets the whole batch', () => {
    const plan = new FetchPlan(640)
    plan.own(new Map(Array.from({ length: 64 }, (_, bucket) => [bucket, 1])))
    const request = plan.request([], 1)
    expect(request.quota).toBe(10)
    const { more } = plan.take(
      Array.from({ length: 10 }, (_, n) => row(n, `k${n}`)),
      request,
      1,
      far,
    )
    expect(more).toBe(true)
    expect(plan.request([], 1).quota).toBe(640)
  })
})

describe('watermark', () => {
  test('a sampled number is trusted only when every transaction that could have a lower one has ended', () => {
    const mark = new Watermark()
    mark.add({ last: 10n, xmin: 100n, xmax: 105n })
    mark.add({ last: 20n, xmin: 100n, xmax: 110n })
    expect(mark.value).toBe(0n)
    mark.add({ last: 30n, xmin: 109n, xmax: 120n })
    expect(mark.value).toBe(0n)
    mark.add({ last: 40n, xmin: 110n, xmax: 130n })
    expect(mark.value).toBe(10n)
  })
})
