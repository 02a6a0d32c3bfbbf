import { globSync, readFileSync } from 'node:fs'
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

test('the guide to caching strategies has the counts that chapter 4 prints', () => {
  const strategies = /^(no cache|cache-aside by hand|write-through by hand|read-through \(ours\))$/
  const countsIn = (path: string, bar: string) => {
    const lines = readFileSync(join(repository, path), 'utf8').replaceAll('**', '').split('\n')
    const rows = lines.map((line) => line.split(bar).map((cell) => cell.trim()))
    return rows
      .filter(([, , strategy = '']) => strategies.test(strategy))
      .map(([, , strategy, h, , ...counts]) => [strategy, h, ...counts])
  }
  const printed = countsIn('test/scenarios/__expected__/04-read-through-caching.servers.txt', '│')
  expect(printed).toHaveLength(16)
  expect(countsIn('docs/guides/caching-strategies.md', '|')).toEqual(printed)
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
