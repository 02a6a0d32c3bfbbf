import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { codeBlocks } from '../support/code-blocks.ts'
import { repository, runProgram } from '../support/programs.ts'

// Inside the repository, so that it finds the built package by its name.
const folder = join(repository, '.data/testing-guide')

/** A test file of somebody: each of its tests finds the tables empty, whatever other files do meanwhile. */
const testFile = `
import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { after, before, beforeEach, test } from 'node:test'
import { User } from '@innovateai/data-access/assessment'
import { empty, openTestData } from './test-data.ts'

let opened: Awaited<ReturnType<typeof openTestData>>
before(async () => { opened = await openTestData() })
beforeEach(() => empty(opened.data))
after(() => opened.close())

for (let number = 1; number <= 5; number++) {
  test('number ' + number, async () => {
    const { data } = opened
    await data.unitOfWork(async ({ em }) => void em.create(User, { email: 'alex@example.dev', name: 'Alex' }))
    await delay(50)
    assert.equal(await data.fork().count(User), 1)
  })
}
`

beforeAll(() => {
  mkdirSync(folder, { recursive: true })
  const block = codeBlocks('docs/guides/testing.md').find(({ file }) => file === 'test-data.ts')
  writeFileSync(join(folder, 'test-data.ts'), block?.code as string)
  for (const name of ['one', 'two']) writeFileSync(join(folder, `${name}.test.ts`), testFile)
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

test('two test files of the guide run side by side, each on a database of its own', async () => {
  const env = { TEST_DATABASE_URL: inject('databaseUrl') }
  const args = ['--test', '--test-concurrency=2', 'one.test.ts', 'two.test.ts']
  const { code, stdout } = await runProgram(process.execPath, args, { cwd: folder, env })
  expect(code, stdout).toBe(0)
  expect(stdout).toMatch(/pass 10\b/)
})
