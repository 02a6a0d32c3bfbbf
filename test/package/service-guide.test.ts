import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, expect, inject, onTestFinished, test, vi } from 'vitest'
import { codeBlocks } from '../support/code-blocks.ts'
import { openTestDatabase, type TestDatabase } from '../support/databases.ts'
import { repository, runProgram } from '../support/programs.ts'
import { freePort } from '../support/servers/server-process.ts'

// Inside the repository, so that it finds the built package by its name.
const folder = join(repository, '.data/service-guide')
const told: { id: string; type: string; sequence: string; payload: unknown }[] = []
const receiver = createServer(async (request, response) => {
  let body = ''
  for await (const chunk of request) body += chunk
  told.push(JSON.parse(body))
  response.end()
})
let database: TestDatabase

beforeAll(async () => {
  mkdirSync(folder, { recursive: true })
  const block = codeBlocks('docs/guides/a-service.md').find(({ file }) => file === 'service.ts')
  writeFileSync(join(folder, 'service.ts'), block?.code as string)
  database = await openTestDatabase('postgresql')
  await once(receiver.listen(0, '127.0.0.1'), 'listening')
})
beforeEach(() => void told.splice(0))
afterAll(async () => {
  receiver.closeAllConnections()
  receiver.close()
  await database.close()
  rmSync(folder, { recursive: true, force: true })
})

const serversOf = () => ({ DATABASE_URL: database.url, REDIS_URL: inject('redisUrl') })

/** The service of the guide as a process, once it is ready. */
async function startService() {
  const port = await freePort()
  const env = {
    ...process.env,
    ...serversOf(),
    PORT: String(port),
    WEBHOOK_URL: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`,
  }
  const service = spawn(process.execPath, ['service.ts'], { cwd: folder, env, stdio: ['ignore', 'inherit', 'inherit'] })
  const ended = once(service, 'exit')
  onTestFinished(async () => {
    service.kill('SIGKILL')
    await ended
  })
  const ask = (path: string, method = 'GET', body?: object) =>
    fetch(`http://127.0.0.1:${port}${path}`, { method, ...(body && { body: JSON.stringify(body) }) })
  const statusOf = async (path: string) => (await ask(path).catch(() => undefined))?.status
  await vi.waitFor(async () => expect(await statusOf('/ready')).toBe(200), { timeout: 60_000, interval: 100 })
  return { service, ended, ask, statusOf }
}

async function relaysLeft(): Promise<number> {
  const client = new pg.Client({ connectionString: database.url })
  await client.connect()
  try {
    return (await client.query('select id from outbox_relays')).rows.length
  } finally {
    await client.end()
  }
}

test('the service of the guide serves, tells its webhook, and ends by SIGTERM once its requests have their answers', async () => {
  const { service, ended, ask, statusOf } = await startService()
  const alex = { email: 'alex@example.dev', name: 'Alex' }
  const added = await ask('/customers', 'POST', alex)
  expect(added.status).toBe(201)
  expect((await ask('/customers', 'POST', alex)).status).toBe(409)
  const { id } = (await added.json()) as { id: string }
  expect(await (await ask(`/customers/${id}`)).json()).toMatchObject(alex)
  await vi.waitFor(() => expect(told).toHaveLength(1), { timeout: 30_000 })
  expect(told[0]).toMatchObject({
    type: 'CustomerAdded',
    sequence: expect.stringMatching(/^\d+$/),
    payload: { email: alex.email },
  })

  service.kill('SIGTERM')
  await vi.waitFor(async () => expect(await statusOf('/ready')).toBe(503), { timeout: 30_000, interval: 20 })
  expect(await statusOf('/live')).toBe(200) // it still serves until the balancer has looked
  expect(await ended).toEqual([0, null])
})

test('the service of the guide ends by Ctrl-C too, and its relay leaves nothing leased', async () => {
  const { service, ended, ask } = await startService()
  await ask('/customers', 'POST', { email: 'jane@example.dev', name: 'Jane' })
  await vi.waitFor(() => expect(told).toHaveLength(1), { timeout: 30_000 })
  expect(await relaysLeft()).toBe(1)

  service.kill('SIGINT')
  expect(await ended).toEqual([0, null])
  expect(await relaysLeft()).toBe(0)
})

test('the service of the guide does not start without the address of its webhook', async () => {
  const { code, stderr } = await runProgram(process.execPath, ['service.ts'], { cwd: folder, env: { ...serversOf(), PORT: '0' } })
  expect(code).not.toBe(0)
  expect(stderr).toContain('WEBHOOK_URL is no URL')
})
