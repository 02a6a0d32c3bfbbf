import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { repository, runProgram } from '../support/programs.ts'

const source = JSON.stringify(fileURLToPath(new URL('../../src/database/health.ts', import.meta.url)))

test('the process stays alive for a report that somebody waits for, and no longer', async () => {
  const program = `import { measureHealth } from ${source}
    measureHealth(() => new Promise(() => {}), 50).then(({ error }) => console.log(error))
    console.log((await measureHealth(async () => {}, 600_000)).ok)`
  const { code, stdout } = await runProgram(process.execPath, ['--input-type=module', '--eval', program], {
    cwd: repository,
    timeoutMs: 20_000,
  })
  expect(stdout.trim().split('\n')).toEqual(['true', 'no answer within 50 ms'])
  expect(code).toBe(0)
})
