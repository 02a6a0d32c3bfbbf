import { describe, expect, test } from 'vitest'
import { startClosingChild } from '../support/closing-child.ts'
import { openTestDatabase } from '../support/databases.ts'
import { closesOpened } from '../support/opened.ts'
import { openProxyTo } from '../support/tcp-proxy.ts'

describe('closing on PostgreSQL', () => {
  const opened = closesOpened()

  test.each([
    ['a unit of work', 'unit', 'goes on'],
    ['a unit of work', 'unit', 'no answer comes from any more'],
    ['a migration', 'migration', 'goes on'],
    ['a stream', 'stream', 'no answer comes from any more'],
  ])('lets the process end in the middle of %s (%s) whose server %s', async (_what, whose, how) => {
    const database = opened(await openTestDatabase('postgresql'))
    const proxy = opened(await openProxyTo(database.url))
    const child = opened(await startClosingChild('close-with-statement-in-child.ts', whose, proxy.url))
    if (how !== 'goes on') proxy.stall()
    expect(await child.end()).toEqual([0, null])
  })
})
