import { expect, test } from 'vitest'
import { CircuitBreaker } from '../../src/kernel/circuit-breaker.ts'

function openBreaker(): { breaker: CircuitBreaker; pass(ms: number): void } {
  let now = 0
  const clock = { now: () => now, wait: async () => undefined }
  const pass = (ms: number) => {
    now += ms
  }
  return { breaker: new CircuitBreaker({ failures: 3, openMs: 500 }, clock), pass }
}

function fail(breaker: CircuitBreaker, times: number): void {
  for (let i = 0; i < times; i++) {
    const admission = breaker.admit()
    if (admission !== undefined) breaker.failed(admission)
  }
}

const attempt = { kind: 'attempt', at: 0 } as const
const probe = { kind: 'probe', at: 500 } as const

test('three failures in a row open it', () => {
  const { breaker } = openBreaker()
  fail(breaker, 2)
  expect(breaker.admit()).toEqual(attempt)
  breaker.failed(attempt)
  expect(breaker.state).toBe('open')
  expect(breaker.admit()).toBeUndefined()
})

test('those of one moment are one failure', () => {
  const { breaker, pass } = openBreaker()
  const together = [1, 2, 3, 4].map(() => breaker.admit())
  pass(50)
  for (const admission of together) if (admission !== undefined) breaker.failed(admission)
  expect(breaker.state).toBe('closed')
  fail(breaker, 2)
  expect(breaker.state).toBe('open')
})

test('an answer between failures keeps it closed', () => {
  const { breaker } = openBreaker()
  fail(breaker, 2)
  breaker.succeeded()
  fail(breaker, 2)
  expect(breaker.state).toBe('closed')
})

test('half-open admits one probe and refuses the rest until it has ended', () => {
  const { breaker, pass } = openBreaker()
  fail(breaker, 3)
  pass(500)
  expect(breaker.state).toBe('half-open')
  expect(breaker.admit()).toMatchObject({ kind: 'probe' })
  expect(breaker.admit()).toBeUndefined()
  breaker.succeeded()
  expect(breaker.admit()).toMatchObject({ kind: 'attempt' })
})

test('a failed probe opens it for the whole time again', () => {
  const { breaker, pass } = openBreaker()
  fail(breaker, 3)
  pass(500)
  breaker.admit()
  breaker.failed(probe)
  pass(499)
  expect(breaker.admit()).toBeUndefined()
  pass(1)
  expect(breaker.admit()).toMatchObject({ kind: 'probe' })
})

test('a late failure from before the opening does not prolong it', () => {
  const { breaker, pass } = openBreaker()
  fail(breaker, 3)
  pass(400)
  breaker.failed(attempt)
  pass(100)
  expect(breaker.admit()).toMatchObject({ kind: 'probe' })
})
