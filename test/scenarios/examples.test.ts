import { globSync } from 'node:fs'
import { basename, join } from 'node:path'
import { afterEach, describe, expect, inject, test } from 'vitest'
import { openTestDatabase, type TestDatabase } from '../support/databases.ts'
import { repository, runProgram } from '../support/programs.ts'
import { stableText } from '../support/stable-text.ts'

const examples = globSync('examples/*.ts', { cwd: repository })
  .map((path) => basename(path, '.ts'))
  .sort()
let database: TestDatabase | undefined

afterEach(async () => {
  await database?.close()
  database = undefined
})

test('there are the five chapters and the tour', () => {
  expect(examples.filter((name) => /^0[1-5]-/.test(name))).toHaveLength(5)
  expect(examples).toContain('tour')
})

describe.each(examples)('examples/%s.ts', (name) => {
  async function stableOutput(env: Readonly<Record<string, string>>): Promise<string> {
    const file = join(repository, 'examples', `${name}.ts`)
    const { code, stdout, stderr } = await runProgram(process.execPath, [file], { cwd: repository, env, timeoutMs: 55_000 })
    expect(code, stderr).toBe(0)
    return stableText(stdout)
  }

  test('runs on the embedded defaults, and prints what is expected', async () => {
    await expect(await stableOutput({})).toMatchFileSnapshot(`__expected__/${name}.embedded.txt`)
  })

  test('runs on PostgreSQL and Redis, and prints what is expected', async () => {
    database = await openTestDatabase('postgresql')
    const output = await stableOutput({ DATABASE_URL: database.url, REDIS_URL: inject('redisUrl') })
    await expect(output).toMatchFileSnapshot(`__expected__/${name}.servers.txt`)
  })
})
