import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { WaitingCallers } from '../../src/database/waiting-callers.ts'

test('a stack trace shows the line of the application that waits', async () => {
  const callers = new WaitingCallers()
  const run = async () => {
    await turn()
    return new Error('where').stack
  }
  async function lineOfTheApplication() {
    return await callers.wait(run)
  }
  expect(await lineOfTheApplication()).toContain('lineOfTheApplication')
})

test('who waits when all are dismissed is refused, and what comes late is given back', async () => {
  const callers = new WaitingCallers()
  const late = Promise.withResolvers<string>()
  const back: string[] = []
  const waiting = callers.wait(
    () => late.promise,
    (connection) => back.push(connection),
  )
  const refused = expect(waiting).rejects.toThrow('closed')
  expect(await callers.wait(async () => 'in time')).toBe('in time')
  callers.dismiss(() => new Error('closed'))
  await refused
  late.resolve('late')
  await turn()
  expect(back).toEqual(['late'])
  await expect(callers.wait(async () => 'after')).rejects.toThrow('closed')
})
