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
    const small = open({ maxBytes: 3000 })
    for (const key of ['a', 'b', 'c']) small.keep(entry(key), { text: 'x'.repeat(1000) }, small.ticket(), 10)
    small.keep(entry('d'), 'x'.repeat(3000), small.ticket(), 10)
    expect(['a', 'b', 'c', 'd'].map((key) => small.find(entry(key), 0) !== undefined)).toEqual([false, true, true, false])
  })

  test.each([
    ['Latin letters, of one byte each', () => ({ text: 'ü'.repeat(1000) }), 1000],
    ['other letters, of two', () => ({ text: 'ж'.repeat(1000) }), 2000],
    ['a text with one other letter, and so of two each', () => ({ text: `${'x'.repeat(999)}ж` }), 2000],
    ['binary data', () => ({ data: Buffer.alloc(1000) }), 1000],
    ['a map by long names', () => Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`${n}`.padEnd(60, 'x'), 1])), 10_000],
  ])('count %s', (_what, make, bytes) => {
    const near = open({ maxBytes: 100_000 })
    const count = Math.ceil(200_000 / bytes)
    const keys = Array.from({ length: count }, (_, n) => `key ${n}`)
    for (const key of keys) near.keep(entry(key), make(), near.ticket(), 10)
    const left = keys.filter((key) => near.find(entry(key), 0) !== undefined).length
    expect(left * bytes).toBeLessThanOrEqual(100_000)
    expect(left * bytes).toBeGreaterThan(60_000)
  })
})
