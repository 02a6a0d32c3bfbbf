import { once } from 'node:events'
import { get, request } from 'node:http'
import { createServer } from 'node:net'
import pg from 'pg'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { openTestDatabase } from '../support/databases.ts'
import { type RunningLab, startLab } from '../support/lab/start-lab.ts'
import { repository, runProgram } from '../support/programs.ts'

let lab: RunningLab

beforeAll(async () => {
  lab = await startLab(['--port', '0'])
})
afterAll(async () => {
  await lab?.stop()
})

interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
}

/** Asks as a program that sets every header itself: `fetch` would not let it. */
async function ask(path: string, headers: Readonly<Record<string, string>>, body?: string): Promise<Answer> {
  const url = `${lab.url}${path}`
  const sent = body === undefined ? get(url, { headers }) : request(url, { method: 'POST', headers })
  sent.end(body)
  const [response] = await once(sent, 'response')
  response.resume()
  await once(response, 'end')
  return { status: response.statusCode, headers: response.headers }
}

const json = { 'content-type': 'application/json' }

test('a foreign Host is refused, and both names of the loopback are not', async () => {
  const { port } = new URL(lab.url)
  for (const host of ['attacker.example', `attacker.example:${port}`, '127.0.0.1', `127.0.0.1.attacker.example:${port}`]) {
    expect(await ask('/', { host })).toMatchObject({ status: 403 })
    expect(await ask('/api/live', { host })).toMatchObject({ status: 403 })
  }
  expect(await ask('/', {})).toMatchObject({ status: 200 })
  expect(await ask('/', { host: `localhost:${port}` })).toMatchObject({ status: 200 })
})

test('a foreign Origin presses no button', async () => {
  for (const origin of ['http://attacker.example', 'null', lab.url.replace('http', 'https'), 'http://127.0.0.1:1']) {
    expect(await ask('/api/actions/start-afresh', { origin, ...json }, '{}')).toMatchObject({ status: 403 })
    expect(await ask('/api/live', { origin })).toMatchObject({ status: 403 })
  }
  expect(await ask('/api/actions/initialise', { 'sec-fetch-site': 'cross-site', ...json }, '{}')).toMatchObject({ status: 403 })
  expect(await ask('/api/actions/initialise', { origin: lab.url, ...json }, '{}')).toMatchObject({ status: 200 })
})

test('a form of another page, what is no JSON and what nobody knows are refused', async () => {
  expect(await ask('/api/actions/start-afresh', { 'content-type': 'text/plain' }, '{}')).toMatchObject({ status: 415 })
  expect(await ask('/api/actions/initialise', json, '{')).toMatchObject({ status: 422 })
  expect(await ask('/api/actions/initialise', json, '{"more":1}')).toMatchObject({ status: 422 })
  expect(await ask('/api/actions/constructor', json, '{}')).toMatchObject({ status: 404 })
  expect(await ask('/guides/..%2f..%2fpackage', {})).toMatchObject({ status: 404 })
})

test('pages run scripts and styles of the lab alone, and may not be framed', async () => {
  const { headers } = await ask('/', {})
  expect(headers['content-security-policy']).toMatch(
    /default-src 'none'; script-src 'self'; style-src 'self';.*frame-ancestors 'none'/,
  )
  expect(headers).toMatchObject({ 'x-content-type-options': 'nosniff', 'referrer-policy': 'no-referrer' })
})

const run = (args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
  runProgram(process.execPath, ['examples/lab/main.ts', ...args], { cwd: repository, env })

test('a port that is taken is named, and no other one taken in its place', async () => {
  const other = createServer().listen(0, '127.0.0.1')
  onTestFinished(() => void other.close())
  await once(other, 'listening')
  const { port } = other.address() as { port: number }
  const { code, stdout, stderr } = await run(['--port', String(port)])
  expect(code).toBe(1)
  expect(stdout).toBe('')
  expect(stderr).toBe(`Port ${port} is taken by another program: give one by --port, or --port 0 for any that is free\n`)
})

test('what cannot be used is told in one sentence', async () => {
  expect((await run(['--port', 'many'])).stderr).toBe('--port is many; give a number from 0 to 65535\n')
  expect((await run(['--fast'])).stderr).toMatch(/^Unknown option '--fast'.*see npm run lab -- --help\n$/s)
  expect((await run([], { DATABASE_URL: 'sqlite:precious.db' })).stderr).toMatch(
    /^DATABASE_URL is no URL of PostgreSQL, and the lab leaves your files alone/,
  )
  expect((await run(['--port', '0'], { DATABASE_URL: 'postgres://nobody:secret@127.0.0.1:1/none' })).stderr).toMatch(
    /^The database postgres:\/\/nobody:\*\*\*@127\.0\.0\.1:1\/none cannot be used: [^\n]*\n$/,
  )
  const { code, stdout } = await run(['--help'])
  expect(code).toBe(0)
  expect(stdout).toContain('npm run lab -- --port 5300')
})

test('on PostgreSQL the rows of others stay, and those of the lab are there again after a restart', async () => {
  const database = await openTestDatabase('postgresql')
  onTestFinished(() => database.close())
  const client = new pg.Client({ connectionString: database.url })
  await client.connect()
  onTestFinished(() => client.end())
  await client.query('create table users (id integer, email text)')
  await client.query("insert into users values (1, 'precious@example.com')")
  const act = async (url: string, name: string) =>
    (await fetch(`${url}/api/actions/${name}`, { method: 'POST', headers: json, body: '{}' })).status

  const first = await startLab(['--port', '0'], { DATABASE_URL: database.url })
  expect(await act(first.url, 'initialise')).toBe(200)
  await first.stop()
  const count = async (table: string) => Number((await client.query(`select count(*) from ${table}`)).rows[0].count)
  expect(await count('data_access_lab.users')).toBe(2)

  const second = await startLab(['--port', '0'], { DATABASE_URL: database.url })
  onTestFinished(() => second.stop())
  expect(await count('data_access_lab.users')).toBe(2)
  expect(await act(second.url, 'start-afresh')).toBe(200)
  expect(await count('data_access_lab.users')).toBe(0)
  expect((await client.query('select * from public.users')).rows).toEqual([{ id: 1, email: 'precious@example.com' }])
})
