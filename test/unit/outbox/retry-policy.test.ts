import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { outcomeOfError, retryable, unavailable } from '../../../src/outbox/publishing/publisher.ts'
import { defaultRetryPolicy, errorText, settle, toRetryPolicy } from '../../../src/outbox/publishing/retry-policy.ts'
import { pauseOf, type SettledEvent } from '../../../src/outbox/relay/batch-settler.ts'

const event = { type: 'ScoreCalculated', orderingKey: 'k', attempts: 0 }
const policy = { attempts: 3, baseMs: 100, maxMs: 1000 }
const boom = new Error('boom')

describe('retry policy', () => {
  test('an outage spends no attempt, however many there were', () => {
    fc.assert(
      fc.property(fc.nat(1000), (attempts) => {
        expect(settle({ ...event, attempts }, { status: 'unavailable', error: boom }, policy, 'skip')).toEqual({
          kind: 'pause',
          afterMs: 0,
          error: boom,
        })
      }),
    )
  })

  test('a retry waits at most the doubled base, and never longer than the cap', () => {
    fc.assert(
      fc.property(fc.nat(8), fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (attempts, random) => {
        const many = { ...policy, attempts: 10 }
        const settlement = settle({ ...event, attempts }, { status: 'retryable', error: boom }, many, 'skip', () => random)
        if (settlement.kind !== 'retry') throw new Error(settlement.kind)
        expect(settlement.attempts).toBe(attempts + 1)
        expect(settlement.delayMs).toBeGreaterThanOrEqual(0)
        expect(settlement.delayMs).toBeLessThanOrEqual(Math.min(1000, 100 * 2 ** attempts))
      }),
    )
  })

  test.each([
    [undefined, 50],
    [Number.NaN, 50],
    [-1, 50],
    [20, 50],
    [700.5, 701],
    [Number.POSITIVE_INFINITY, 3_600_000],
  ])('a publisher that asks for %s ms gets a retry after %s', (afterMs, delayMs) => {
    const outcome = outcomeOfError(retryable(boom, { afterMs }))
    expect(settle(event, outcome, policy, 'skip', () => 0.5)).toEqual({ kind: 'retry', attempts: 1, delayMs, error: boom })
  })

  test('a publisher that asks for the longest pause gets it, up to an hour', () => {
    const pauses = [1500, 7_000_000, 1].map((afterMs) => ({
      hand: {} as SettledEvent['hand'],
      settlement: settle(event, outcomeOfError(unavailable(new Error('away'), { afterMs })), policy, 'skip'),
    }))
    expect(pauseOf(pauses)?.afterMs).toBe(3_600_000)
    expect(pauseOf(pauses.slice(0, 1))?.afterMs).toBe(1500)
    expect(pauseOf([])).toBeUndefined()
  })

  test('the last attempt that fails makes a dead letter', () => {
    expect(settle({ ...event, attempts: 2 }, { status: 'retryable', error: boom }, policy, 'skip')).toMatchObject({
      kind: 'dead-letter',
      reason: 'exhausted',
      attempts: 3,
      blocksKey: false,
    })
  })

  test('a permanent failure makes a dead letter at once', () => {
    expect(settle(event, { status: 'permanent', error: boom }, policy, 'skip')).toMatchObject({
      kind: 'dead-letter',
      reason: 'permanent',
      attempts: 1,
    })
  })

  test('a rule per event type decides whether the key is blocked, and an event without a key blocks nothing', () => {
    const blocks = (type: string, orderingKey: string | null, rules: Parameters<typeof settle>[3]) => {
      const settlement = settle({ type, orderingKey, attempts: 0 }, { status: 'permanent', error: boom }, policy, rules)
      return settlement.kind === 'dead-letter' && settlement.blocksKey
    }
    expect(blocks('A', 'k', 'block-key')).toBe(true)
    expect(blocks('A', null, 'block-key')).toBe(false)
    expect(blocks('A', 'k', { A: 'block-key' })).toBe(true)
    expect(blocks('B', 'k', { A: 'block-key' })).toBe(false)
    expect(blocks('B', 'k', { A: 'skip', default: 'block-key' })).toBe(true)
    expect(blocks('toString', 'k', {})).toBe(false)
  })

  test('what is missing of a policy is filled in, and values out of range are refused by name', () => {
    expect(toRetryPolicy()).toEqual(defaultRetryPolicy)
    expect(toRetryPolicy({ attempts: 2 }).attempts).toBe(2)
    expect(toRetryPolicy({ baseMs: 400_000 })).toMatchObject({ baseMs: 400_000, maxMs: 400_000 })
    for (const [name, value] of Object.entries({ attempts: 0, baseMs: Number.NaN, maxMs: 1 })) {
      expect(() => toRetryPolicy({ [name]: value })).toThrow(`retry.${name} is ${value}`)
    }
  })

  test('an error is told with its causes, in a length that a column bears', () => {
    expect(errorText(new Error('outer', { cause: new TypeError('inner') }))).toBe('Error: outer ← TypeError: inner')
    expect(errorText('a\0b')).toBe('Error: ab')
    expect(errorText('half \ud83d')).toBe('Error: half \ufffd')
    expect(errorText(new Error('x'.repeat(10_000)))).toHaveLength(4000)
  })

  test('the text of an error tells no password of a URL, wherever it stands', () => {
    const cause = new Error('POST https://hooks.example/in?token=geheim&page=2 failed')
    expect(errorText(new Error('connect redis://me:ge:h/e@im@host:6379/0 refused', { cause }))).toBe(
      'Error: connect redis://me:***@host:6379/0 refused ← Error: POST https://hooks.example/in?token=***&page=2 failed',
    )
    expect(errorText(new Error('https://hooks.example:8443/in answered 500'))).toContain('https://hooks.example:8443/in answered')
    expect(errorText(new Error(`${'x'.repeat(3970)} redis://me:${'geheim'.repeat(20)}@host`))).not.toContain('geheim')
    // In bounded time.
    expect(errorText(new Error('a.'.repeat(500_000)))).toHaveLength(4000)
  })
})
