import { describe, expect, it } from 'vitest'
import { callerLine, captureStack } from '../../src/database/caller.ts'

const own = new URL('../../src/database/query-scope.ts', import.meta.url)

describe('the line of the caller', () => {
  const lineOf = (...frames: string[]) => callerLine(Object.assign(new Error('x'), { stack: ['Error: x', ...frames].join('\n') }))

  it('is the first frame of the application', () => {
    expect(
      lineOf(
        `    at captureStack (${own.href}:1:1)`,
        `    at captureStack (${own.pathname}:1:1)`,
        '    at process.processTicksAndRejections (node:internal/process/task_queues:104:5)',
        '    at async EntityManager.find (file:///app/node_modules/@mikro-orm/core/EntityManager.js:153:25)',
        '    at async Promise.all (index 0)',
        '    at async listUsers (file:///app/lib/users.ts:12:7)',
        '    at async main (file:///app/lib/main.ts:3:1)',
      ),
    ).toBe('/app/lib/users.ts:12:7')
  })

  it.each([
    ['without a function', '    at async file:///app/a.ts:1:2', '/app/a.ts:1:2'],
    ['as a path', '    at run (/app/a.js:3:4)', '/app/a.js:3:4'],
    ['on Windows', '    at run (C:\\app\\a.js:3:4)', 'C:\\app\\a.js:3:4'],
    ['in a folder with parentheses', '    at run (/app (new)/a.js:3:4)', '/app (new)/a.js:3:4'],
  ])('is found %s', (_what, frame, expected) => {
    expect(lineOf(frame)).toBe(expected)
  })

  it('is unknown where no frame is the application', () => {
    expect(lineOf('    at node:internal/timers:1:1')).toBeUndefined()
  })

  it('leaves the limit of stacks as it was', () => {
    const before = Error.stackTraceLimit
    captureStack()
    expect(Error.stackTraceLimit).toBe(before)
  })
})
