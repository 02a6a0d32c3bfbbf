import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest'
import { codeBlocks } from '../support/code-blocks.ts'
import { openTestDatabase, type TestDatabase } from '../support/databases.ts'
import { repository } from '../support/programs.ts'
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
  database = await openTestDatabase('postgresql')
  await once(receiver.listen(0, '127.0.0.1'), 'listening')
})
afterAll(async () => {
  receiver.closeAllConnections()
  receiver.close()
  await database.close()
  rmSync(folder, { recursive: true, force: true })
})

test('the service of the guide serves, tells its webhook, and ends by SIGTERM once its requests have their answers', async () => {
  const block = codeBlocks('docs/guides/a-service.md').find(({ file }) => file === 'service.ts')
  writeFileSync(join(folder, 'service.ts'), block?.code as string)
  const port = await freePort()
  const env = {
    ...process.env,
    ...{ DATABASE_URL: database.url, REDIS_URL: inject('redisUrl'), PORT: String(port) },
    WEBHOOK_URL: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`,
  }
  const service = spawn(process.execPath, ['service.ts'], { cwd: folder, env, stdio: ['ignore', 'inherit', 'inherit'] })
  const ended = once(service, 'exit')
  try {
    const ask = (path: string, method = 'GET', body?: object) =>
      fetch(`http://127.0.0.1:${port}${path}`, { method, ...(body && { body: JSON.stringify(body) }) })
    const statusOf = async (path: string) => (await ask(path).catch(() => undefined))?.status
    await vi.waitFor(async () => expect(await statusOf('/ready')).toBe(200), { timeout: 60_000, interval: 100 })

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
  } finally {
    service.kill('SIGKILL')
    await ended
  }
})
