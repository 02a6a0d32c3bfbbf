import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Redis } from 'ioredis'
import pg from 'pg'
import { expect, inject, test } from 'vitest'
import { openTestDatabase } from '../support/databases.ts'
import { openTestRedis } from '../support/redis.ts'
import { findPrograms } from '../support/servers/find-program.ts'
import { firstWay } from '../support/servers/ways.ts'

async function query(url: string, statement: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query(statement)).rows
  } finally {
    await client.end()
  }
}

test('a test file gets its own PostgreSQL database, which is gone after close', async () => {
  const database = await openTestDatabase('postgresql')
  const [row] = await query(database.url, 'select current_database() as name')
  expect(row?.name).toMatch(/^test_/)
  expect(await query(database.url, "select 1 from information_schema.tables where table_schema = 'public'")).toEqual([])
  await database.close()
  await expect(query(database.url, 'select 1')).rejects.toThrow(/does not exist/)
})

test('closing a PostgreSQL database succeeds while somebody is still connected', async () => {
  const database = await openTestDatabase('postgresql')
  const client = new pg.Client({ connectionString: database.url })
  client.on('error', () => undefined)
  await client.connect()
  await database.close()
  await expect(query(database.url, 'select 1')).rejects.toThrow(/does not exist/)
})

test('a SQLite file has a folder of its own, which is gone after close', async () => {
  const one = await openTestDatabase('sqlite')
  const other = await openTestDatabase('sqlite')
  expect(one.url).not.toBe(other.url)
  const folder = join(one.url.replace(/^sqlite:/, ''), '..')
  expect(existsSync(folder)).toBe(true)
  await Promise.all([one.close(), other.close()])
  expect(existsSync(folder)).toBe(false)
})

test('closing a part of Redis deletes the keys under its prefix and no others', async () => {
  const [one, other] = await Promise.all([openTestRedis(), openTestRedis()])
  const client = new Redis(one.url)
  await client.mset({ [`${one.prefix}a`]: '1', [`${one.prefix}b`]: '2', [`${other.prefix}a`]: '3' })
  await one.close()
  expect(await client.exists(`${one.prefix}a`, `${one.prefix}b`)).toBe(0)
  expect(await client.exists(`${other.prefix}a`)).toBe(1)
  await other.close()
  await client.quit()
})

test('the servers end and their folders are removed when the process that asked for them is killed', async () => {
  const script = `
    const { startServers } = await import(${JSON.stringify(join(import.meta.dirname, '../support/servers/start-servers.ts'))})
    const servers = await startServers(() => undefined)
    console.log(JSON.stringify(servers))
    setInterval(() => undefined, 1000)`
  // PostgreSQL by URL, so that only Redis is started: the way of ending is the same for both.
  const { REDIS_URL: _, ...env }: NodeJS.ProcessEnv = { ...process.env, DATABASE_URL: inject('databaseUrl') }
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { env, stdio: ['ignore', 'pipe', 'inherit'] })
  const line = await new Promise<string>((resolve) => createInterface(child.stdout).once('line', resolve))
  const { redisUrl } = JSON.parse(line)
  const client = new Redis(redisUrl, { retryStrategy: () => null })
  client.on('error', () => undefined)
  const folder = ((await client.config('GET', 'dir')) as string[])[1] ?? ''
  expect(existsSync(folder)).toBe(true)

  const ended = new Promise((resolve) => client.once('end', resolve))
  child.kill('SIGKILL')
  await ended
  await expect.poll(() => existsSync(join(folder, '..')), { timeout: 10_000 }).toBe(false)
})

test('without any way to get a server, one error names what to install and what was tried', async () => {
  const start = firstWay('Redis', 'install Redis, or set REDIS_URL', () => undefined, {
    system: async () => undefined,
    npm: async () => {
      throw new Error('no compiler')
    },
  })
  await expect(start).rejects.toThrow(
    /^No Redis for the tests: install Redis, or set REDIS_URL\.\n {2}by the programs of an npm package: no compiler$/,
  )
})

test('programs are searched on PATH first and only whole sets count', () => {
  expect(findPrograms(['node-of-nobody'], [])).toBeUndefined()
  expect(findPrograms(['sh'], [])).toBeDefined()
  expect(findPrograms(['sh', 'node-of-nobody'], ['/bin'])).toBeUndefined()
})
