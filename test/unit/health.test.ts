import { expect, test } from 'vitest'
import { measureHealth } from '../../src/database/health.ts'

const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length

test('the process stays alive for a report that somebody waits for, and no longer', async () => {
  const before = timers()
  const report = measureHealth(() => new Promise(() => {}), 50)
  // A timer that does not keep the process alive is not among them.
  expect(timers()).toBe(before + 1)
  expect(await report).toMatchObject({ ok: false, error: 'no answer within 50 ms' })
  expect(await measureHealth(async () => {}, 60_000)).toMatchObject({ ok: true })
  expect(timers()).toBe(before)
})
