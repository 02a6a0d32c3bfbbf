import { globSync } from 'node:fs'
import { basename, join } from 'node:path'
import pg from 'pg'
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

async function ask({ url }: TestDatabase, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query(sql)).rows
  } finally {
    await client.end()
  }
}

test('there are the five chapters and the tour', () => {
  expect(examples.filter((name) => /^0[1-5]-/.test(name))).toHaveLength(5)
  expect(examples).toContain('tour')
})

describe.each(examples)('examples/%s.ts', (name) => {
  async function stableOutput(env: Readonly<Record<string, string>>): Promise<string> {
    const file = join(repository, 'examples', `${name}.ts`)
    const { code, stdout, stderr } = await runProgram(process.execPath, [file], { cwd: repository, env })
    expect(code, stderr).toBe(0)
    return stableText(stdout)
  }

  test('runs on the embedded defaults, and prints what is expected', async () => {
    await expect(await stableOutput({})).toMatchFileSnapshot(`__expected__/${name}.embedded.txt`)
  })

  test('runs on PostgreSQL and Redis, prints what is expected, and leaves the tables of others alone', async () => {
    database = await openTestDatabase('postgresql')
    await ask(database, "create table users (id integer, email text); insert into users values (1, 'precious@example.com')")
    const output = await stableOutput({ DATABASE_URL: database.url, REDIS_URL: inject('redisUrl') })
    await expect(output).toMatchFileSnapshot(`__expected__/${name}.servers.txt`)

    expect(await ask(database, 'select * from users')).toEqual([{ id: 1, email: 'precious@example.com' }])
    const tables = await ask(database, "select table_name from information_schema.tables where table_schema = 'public'")
    expect(tables).toEqual([{ table_name: 'users' }])
  })

  test('leaves a file of SQLite alone', async () => {
    const file = join(repository, 'examples', `${name}.ts`)
    const env = { DATABASE_URL: 'sqlite:precious.db' }
    const { code, stderr } = await runProgram(process.execPath, [file], { cwd: repository, env })
    expect(code).toBe(1)
    expect(stderr).toMatch(/^DATABASE_URL is no URL of PostgreSQL, and the examples leave your files alone/)
  })
})
