import { expect, test } from 'vitest'
import { findInversion } from '../../support/relay-process.ts'

const inversionOf = (payloads: readonly number[]) =>
  findInversion(payloads.map((payload) => ({ id: String(payload), key: 'k', payload })))?.payload

test.each([[[0, 1, 2, 3]], [[0, 1, 2, 2, 3]], [[0, 1, 2, 0, 1, 2, 3]], [[0, 1, 2, 0, 1, 0, 1, 2, 3]]])(
  'deliveries %j keep the order: a repetition runs on to the end',
  (payloads) => {
    expect(inversionOf(payloads)).toBeUndefined()
  },
)

test.each([
  [[1], 1],
  [[0, 2], 2],
  [[0, 1, 2, 0, 2], 2],
  [[0, 1, 2, 0, 3], 3],
  [[0, 1, 2, 3, 0, 1, 4], 4],
  [[0, 1, 2, 3, 0, 1], 1],
])('deliveries %j breach it with %i', (payloads, breach) => {
  expect(inversionOf(payloads)).toBe(breach)
})
