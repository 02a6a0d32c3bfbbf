import { PolymorphicRef } from '@mikro-orm/core'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { canonical, copy, decode, encode, NotCacheable } from '../../../src/cache/codec.ts'

/** The objects that a value is made of. */
function parts(value: unknown): object[] {
  return typeof value === 'object' && value !== null ? [value, ...Object.values(value).flatMap(parts)] : []
}

describe('the codec of cached values', () => {
  test.each([
    ['a date', new Date(1234567890123)],
    ['an invalid date', new Date(Number.NaN)],
    ['a bigint', 2n ** 70n],
    ['binary', Buffer.from([0, 1, 255])],
    ['a byte array', new Uint8Array([7, 8])],
    ['minus zero', -0],
    ['infinity', Number.NEGATIVE_INFINITY],
    ['not a number', Number.NaN],
    ['an object that looks like a tag', { $: ['d', 1], other: { $: 2 } }],
    ['nothing inside', { gone: undefined, none: null, empty: '', zero: 0, no: false }],
    [
      'what a row has for a relation to one of several entities',
      { of: new PolymorphicRef('post', 2n), at: [new PolymorphicRef('x', [1, -0])] },
    ],
    ['deep values', [{ at: new Date(1), list: [1n, [Buffer.from('x')]] }]],
  ])('gives back %s', (_what, value) => {
    expect(decode(encode(value))).toStrictEqual(value)
  })

  test('gives back any plain data', { timeout: 60_000 }, () => {
    const data = fc.anything({ withBigInt: true, withDate: true, withNullPrototype: false, withUnicodeString: true })
    fc.assert(
      fc.property(data, (value) => {
        expect(decode(encode(value))).toStrictEqual(value)
      }),
    )
  })

  test('copies what a row has for a relation to one of several entities', () => {
    const kept = { of: new PolymorphicRef('post', [1, 2n]) }
    expect(copy(kept)).toStrictEqual(kept)
    expect(parts(copy(kept)).filter((part) => parts(kept).includes(part))).toEqual([])
  })

  test('gives binary data a memory of its own, which keeps nothing else', () => {
    expect((decode(encode(Buffer.from('abc'))) as Buffer).buffer.byteLength).toBe(3)
  })

  test('gives a new value every time', () => {
    const text = encode({ list: [1] })
    expect(decode(text)).not.toBe(decode(text))
  })

  test('copies what it gave back, and shares nothing with it', () => {
    const data = fc.anything({ withBigInt: true, withDate: true, withNullPrototype: false, withUnicodeString: true })
    fc.assert(
      fc.property(data, (value) => {
        const kept = canonical(value)
        const own = copy(kept)
        expect(own).toStrictEqual(value)
        const shared = new Set(parts(kept))
        expect(parts(own).filter((part) => shared.has(part))).toEqual([])
      }),
    )
  })

  const cycle: Record<string, unknown> = {}
  cycle.itself = cycle
  test.each([
    ['a function', { run: () => undefined }],
    ['a symbol', Symbol('x')],
    ['a class instance', { map: new Map() }],
    ['a cycle', cycle],
  ])('refuses %s', (_what, value) => {
    expect(() => encode(value)).toThrow(NotCacheable)
  })
})
