import { expect, test } from 'vitest'
import manifest from '../../package.json' with { type: 'json' }
import { repository, runProgram } from '../support/programs.ts'

/** The commands that are programs of this project; what they run last is the program itself. */
const programs = Object.entries(manifest.scripts)
  .map(([name, script]) => ({ name, words: script.split(' && ').at(-1)?.split(' ') ?? [] }))
  // npm runs `prepack` by itself.
  .filter(({ name, words }) => name !== 'prepack' && words[0] === 'node' && !words[1]?.startsWith('examples/'))
const run = (words: readonly string[], option: string) =>
  runProgram(process.execPath, [...words.slice(1), option], { cwd: repository, timeoutMs: 60_000 })

/** These hand their options on to the test runner. */
const handingOn = ['test', 'soak']

test.each(programs)('npm run $name tells its usage, and does nothing else', async ({ words }) => {
  const { code, stdout } = await run(words, '--help')
  expect(stdout).toMatch(/^npm (run )?\w+/)
  expect(code).toBe(0)
})

test.each(programs.filter(({ name }) => !handingOn.includes(name)))(
  'npm run $name refuses an option that it does not know, with its usage',
  async ({ words }) => {
    const { code, stderr } = await run(words, '--no-such-option')
    expect(stderr).toMatch(/--no-such-option[\s\S]*npm (run )?\w+/)
    expect(code).toBe(2)
  },
)
