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
    if (admission !== 'refused') breaker.failed(admission)
  }
}

test('three failures in a row open it', () => {
  const { breaker } = openBreaker()
  fail(breaker, 2)
  expect(breaker.admit()).toBe('attempt')
  breaker.failed('attempt')
  expect(breaker.state).toBe('open')
  expect(breaker.admit()).toBe('refused')
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
  expect(breaker.admit()).toBe('probe')
  expect(breaker.admit()).toBe('refused')
  breaker.succeeded()
  expect(breaker.admit()).toBe('attempt')
})

test('a failed probe opens it for the whole time again', () => {
  const { breaker, pass } = openBreaker()
  fail(breaker, 3)
  pass(500)
  breaker.admit()
  breaker.failed('probe')
  pass(499)
  expect(breaker.admit()).toBe('refused')
  pass(1)
  expect(breaker.admit()).toBe('probe')
})

test('a late failure from before the opening does not prolong it', () => {
  const { breaker, pass } = openBreaker()
  fail(breaker, 3)
  pass(400)
  breaker.failed('attempt')
  pass(100)
  expect(breaker.admit()).toBe('probe')
})
