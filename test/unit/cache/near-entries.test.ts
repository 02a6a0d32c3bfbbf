import { describe, expect, test } from 'vitest'
import { NearEntries } from '../../../src/cache/redis/near-entries.ts'

const entry = (key: string, ...stamps: string[]) => ({ key, stamps, version: 'v1' })
const open = (bounds: Partial<{ maxEntries: number; maxBytes: number }> = {}) =>
  new NearEntries({ maxEntries: 100, maxBytes: 1_000_000, ...bounds })

describe('copies near to the reader', () => {
  test('are found until their time ends, under their version', () => {
    const near = open()
    near.keep(entry('a'), null, near.ticket(), 10)
    expect(near.find(entry('a'), 9)).toBeNull()
    expect(near.find(entry('a'), 10)).toBeUndefined()
    expect(near.find({ ...entry('a'), version: 'v2' }, 9)).toBeUndefined()
    expect(near.find(entry('b'), 9)).toBeUndefined()
  })

  test('end with their key and with each of their stamps, and with nothing else', () => {
    const near = open()
    for (const expired of ['a', 's1', 's2']) {
      near.keep(entry('a', 's1', 's2'), 'x', near.ticket(), 10)
      near.expire(['b', 's3'])
      expect(near.find(entry('a', 's1', 's2'), 0)).toBe('x')
      near.expire([expired])
      expect(near.find(entry('a', 's1', 's2'), 0)).toBeUndefined()
    }
  })

  test('that were on their way as their key or stamp expired are refused', () => {
    const near = open()
    for (const expire of [() => near.expire(['a']), () => near.expire(['s']), () => near.clear()]) {
      const ticket = near.ticket()
      expire()
      near.keep(entry('a', 's'), 'old', ticket, 10)
      expect(near.find(entry('a', 's'), 0)).toBeUndefined()
      near.keep(entry('a', 's'), 'new', near.ticket(), 10)
      expect(near.find(entry('a', 's'), 0)).toBe('new')
    }
  })

  test('are refused when more has expired meanwhile than can be remembered', () => {
    const near = open()
    const ticket = near.ticket()
    near.expire(['a'])
    for (let i = 0; i < 10; i++) near.expire(Array.from({ length: 1001 }, (_, n) => `other ${i} ${n}`))
    near.keep(entry('a'), 'old', ticket, 10)
    expect(near.find(entry('a'), 0)).toBeUndefined()
    near.keep(entry('a'), 'new', near.ticket(), 10)
    expect(near.find(entry('a'), 0)).toBe('new')
  })

  test('are bounded in number and in bytes', () => {
    const few = open({ maxEntries: 2 })
    for (const key of ['a', 'b', 'c']) few.keep(entry(key), key, few.ticket(), 10)
    expect(['a', 'b', 'c'].map((key) => few.find(entry(key), 0))).toEqual([undefined, 'b', 'c'])
    const small = open({ maxBytes: 2500 })
    for (const key of ['a', 'b', 'c']) small.keep(entry(key), { text: 'x'.repeat(1000) }, small.ticket(), 10)
    small.keep(entry('d'), 'x'.repeat(3000), small.ticket(), 10)
    expect(['a', 'b', 'c', 'd'].map((key) => small.find(entry(key), 0) !== undefined)).toEqual([false, true, true, false])
  })
})
