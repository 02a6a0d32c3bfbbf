import { describe, expect, it } from 'vitest'
import { repository, runWell } from '../support/programs.ts'

describe('a bounded wait, with nothing else that keeps the process alive', () => {
  it.each([
    ['health', 'no answer within 2000 ms'],
    ['close', 'closed'],
  ])('of %s() ends, instead of the process', async (wait, said) => {
    const printed = await runWell(process.execPath, ['test/support/bounded-waits-in-child.ts', wait], { cwd: repository })
    expect(printed.trim()).toBe(said)
  })
})
