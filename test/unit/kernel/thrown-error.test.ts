import { runInNewContext } from 'node:vm'
import { describe, expect, test } from 'vitest'
import { describeThrown, toError } from '../../../src/kernel/thrown-error.ts'

const odd: [string, unknown, string][] = [
  ['a string', 'the broker is tired', 'the broker is tired'],
  ['an empty string', '', 'an empty string was thrown'],
  ['undefined', undefined, 'undefined was thrown'],
  ['null', null, 'null was thrown'],
  ['a number', 503, '503 was thrown'],
  ['a symbol', Symbol('gone'), 'Symbol(gone) was thrown'],
  ['a function', () => {}, 'a function was thrown'],
  ['an object with a message', { message: 'quota', password: 'p' }, 'quota'],
  ['an object with a code', { code: 'E_QUOTA', password: 'p' }, 'E_QUOTA: an object with code, password was thrown'],
  ['a frozen object', Object.freeze({}), 'an object with no properties was thrown'],
  ['an object without a prototype', Object.create(null), 'an object with no properties was thrown'],
]

describe('what was thrown', () => {
  test.each(odd)('%s becomes an error, in words', (_, thrown, words) => {
    const error = toError(thrown)
    expect(error).toBeInstanceOf(Error)
    expect(error.message).toBe(words)
    expect(error.cause).toBe(thrown)
    expect(describeThrown(thrown)).toBe(`Error: ${words}`)
    // The same text, however often it was wrapped on its way.
    expect(describeThrown(error)).toBe(`Error: ${words}`)
  })

  test('an error stays itself, also one of another realm', () => {
    for (const error of [new TypeError('boom'), Object.freeze(new Error('boom')), runInNewContext('new Error("boom")')]) {
      expect(toError(error)).toBe(error)
      expect(describeThrown(error)).toMatch(/Error: boom$/)
    }
  })

  test('causes are told, also those that are no errors, and a circle of them ends', () => {
    expect(describeThrown(new Error('outer', { cause: new TypeError('inner', { cause: 'text' }) }))).toBe(
      'Error: outer ← TypeError: inner ← text',
    )
    const circle = new Error('round')
    circle.cause = circle
    expect(describeThrown(circle)).toBe('Error: round')
  })

  test('an error without a message is told by its code, or its name', () => {
    expect(describeThrown(Object.assign(new AggregateError([new Error('one')]), { code: 'ECONNREFUSED' }))).toBe(
      'AggregateError: ECONNREFUSED',
    )
    expect(describeThrown(new RangeError())).toBe('RangeError without a message')
    expect(describeThrown(Object.assign(new Error('x'), { message: Symbol('y') }))).toBe('Error: Symbol(y)')
  })

  test('what cannot be put into words is told as that, up to there, and becomes an error that can', () => {
    const throws = (property: string) =>
      Object.defineProperty(new Error('odd'), property, {
        get: () => {
          throw new Error('no')
        },
      })
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    const unnamed = 'an error that cannot be put into words'
    for (const [thrown, words] of [
      [throws('message'), unnamed],
      [Object.assign(new Error('odd'), { message: Object.create(null) }), unnamed],
      [throws('cause'), `Error: odd ← ${unnamed}`],
      [new Error('outer', { cause: proxy }), `Error: outer ← ${unnamed}`],
      [proxy, unnamed],
    ]) {
      expect(describeThrown(thrown)).toBe(words)
      expect(toError(thrown)).toMatchObject({ message: words })
      expect(toError(thrown).cause).toBeUndefined()
    }
  })
})
