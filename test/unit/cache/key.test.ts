import { expect, test } from 'vitest'
import { queryKey, rowKey, shapeStamp, uniqueKey, wholeEntityOf, wholeEntityStamp } from '../../../src/cache/key.ts'

test('many keys are expired by their entities, and results of queries by themselves: they belong to none', () => {
  const keys = [
    rowKey('User', 1),
    uniqueKey('User', 'email', 'a@b'),
    shapeStamp('User', { name: 'a:@#' }),
    wholeEntityStamp('User'),
  ]
  expect(keys.map(wholeEntityOf)).toEqual(keys.map(() => wholeEntityStamp('User')))
  const result = queryKey('latest', '{"user":1}')
  expect(wholeEntityOf(result)).toBe(result)
})
