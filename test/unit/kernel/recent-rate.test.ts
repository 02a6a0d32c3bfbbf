import { expect, test } from 'vitest'
import { RecentRate } from '../../../src/kernel/recent-rate.ts'

function openRate(begun: number) {
  let now = begun
  const rate = new RecentRate({ now: () => now, wait: async () => {} })
  const at = (ms: number) => {
    now = ms
  }
  return { rate, at }
}

test('a rate is an average over the last ten seconds', () => {
  const { rate, at } = openRate(5000)
  for (let second = 5; second < 30; second++) {
    at(second * 1000)
    rate.add(20)
  }
  at(30_000)
  expect(rate.perSecond).toBe(20)
  at(34_000)
  expect(rate.perSecond).toBeCloseTo((20 * 5) / 9, 1)
  at(39_001)
  expect(rate.perSecond).toBe(0)
})

test('a rate is an average since the beginning while that is shorter, and no less than a second', () => {
  const { rate, at } = openRate(100_700)
  rate.add(6)
  at(100_710)
  expect(rate.perSecond).toBe(6)
  at(104_700)
  expect(rate.perSecond).toBe(1.5)
})
