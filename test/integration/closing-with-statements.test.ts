import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { openTestDatabase } from '../support/databases.ts'
import { closesOpened } from '../support/opened.ts'
import { openProxyTo } from '../support/tcp-proxy.ts'

const closeInChild = fileURLToPath(new URL('../support/close-with-statement-in-child.ts', import.meta.url))

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
    const child = fork(closeInChild, [whose, proxy.url], { execArgv: [], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    opened({ close: async () => void child.kill('SIGKILL') })
    const ended = once(child, 'exit')
    await once(child, 'message')
    if (how !== 'goes on') proxy.stall()
    child.send('close')
    expect(await ended).toEqual([0, null])
  })
})
