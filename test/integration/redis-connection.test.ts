import { Redis } from 'ioredis'
import { afterEach, describe, expect, inject, test, vi } from 'vitest'
import { silentLogger } from '../../src/kernel/logger.ts'
import { discard } from '../../src/redis/redis-client.ts'
import { RedisConnection } from '../../src/redis/redis-connection.ts'
import type { RedisOptions } from '../../src/redis/redis-options.ts'
import { RedisSubscription } from '../../src/redis/redis-subscription.ts'
import { openRedisServer } from '../support/servers/restartable-servers.ts'
import { openProxy } from '../support/tcp-proxy.ts'

const opened: { close(): Promise<unknown> }[] = []
afterEach(async () => {
  for (const each of opened.splice(0).reverse()) await each.close()
})

function connect(options: RedisOptions, logger = silentLogger): RedisConnection {
  const connection = new RedisConnection(options, { logger })
  opened.push(connection)
  return connection
}

async function proxied() {
  const target = new URL(inject('redisUrl'))
  const proxy = await openProxy(Number(target.port))
  opened.push(proxy)
  target.port = String(proxy.port)
  return { proxy, url: target.href }
}

async function timed(attempt: Promise<unknown>): Promise<{ error: unknown; ms: number }> {
  const startedAt = performance.now()
  const error = await attempt.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  return { error, ms: performance.now() - startedAt }
}

test('the first command connects and gets its answer', async () => {
  const connection = connect({ url: inject('redisUrl'), timeoutMs: 1000 })
  expect(await connection.run('ECHO', (client) => client.echo('hello'))).toBe('hello')
  expect(await connection.ping()).toBeGreaterThan(0)
})

test('a database that the server does not have takes nothing, in place of its first one', async () => {
  const url = new URL(inject('redisUrl'))
  url.pathname = '/9999'
  const connection = connect({ url: url.href, timeoutMs: 1000 })
  const key = `test-${crypto.randomUUID()}`
  for (let n = 0; n < 2; n++) {
    const message = expect.stringMatching(/DB index is out of range.*At the end of its URL give a database that it has/)
    const set = connection.run('SET', (client) => client.set(key, 'astray', 'PX', 10_000))
    await expect(set).rejects.toMatchObject({ code: 'REDIS_UNAVAILABLE', message })
  }
  const first = connect({ url: inject('redisUrl'), timeoutMs: 1000 })
  expect(await first.run('EXISTS', (client) => client.exists(key))).toBe(0)
})

test('nor does one that its user may not select', async () => {
  const server = await openRedisServer()
  opened.push(server)
  const admin = new Redis(server.url)
  opened.push({ close: async () => admin.disconnect() })
  await admin.call('ACL', 'SETUSER', 'guest', 'on', '>secret', '~*', '&*', '+@all', '-select')
  const url = new URL(server.url)
  Object.assign(url, { username: 'guest', password: 'secret', pathname: '/3' })
  const connection = connect({ url: url.href, timeoutMs: 1000 })
  const set = connection.run('SET', (client) => client.set('astray', '1'))
  await expect(set).rejects.toMatchObject({ code: 'REDIS_UNAVAILABLE' })
  expect(await admin.dbsize()).toBe(0)
})

test('a refused connection fails each command within a bounded time', async () => {
  const { proxy, url } = await proxied()
  await proxy.refuse()
  const connection = connect({ url })
  for (let i = 0; i < 10; i++) {
    const { error, ms } = await timed(connection.ping())
    expect(error).toMatchObject({ code: 'REDIS_UNAVAILABLE' })
    expect(ms).toBeLessThan(500)
  }
  expect(connection.circuit).toBe('open')
})

test('a stalled Redis is given up after the timeout, then left alone, then found again', async () => {
  const { proxy, url } = await proxied()
  const connection = connect({ url })
  await expect.poll(() => connection.ping().catch(() => 0)).toBeGreaterThan(0)
  proxy.stall()
  for (let i = 0; i < 3; i++) {
    const { error, ms } = await timed(connection.ping())
    expect(error).toMatchObject({ code: 'REDIS_UNAVAILABLE', message: expect.stringContaining('within 50 ms') })
    expect(ms).toBeLessThan(500)
  }
  expect(await timed(connection.ping())).toMatchObject({ error: { message: expect.stringContaining('left alone') } })
  proxy.resume()
  await expect.poll(() => connection.ping().catch(() => 0), { timeout: 10_000 }).toBeGreaterThan(0)
  expect(connection.circuit).toBe('closed')
})

test('a program that computes for longer than the timeout finds Redis well', async () => {
  const connection = connect({ url: inject('redisUrl') })
  await expect.poll(() => connection.ping().catch(() => 0)).toBeGreaterThan(0)
  for (let i = 0; i < 5; i++) {
    const answer = connection.run('ECHO', (client) => client.echo('hello'))
    const busyUntil = performance.now() + 200
    process.nextTick(() => {
      while (performance.now() < busyUntil); // another request's work, right after this one was sent
    })
    expect(await answer).toBe('hello')
  }
})

test('a Redis that answers late keeps its connection, one that does not answer at all gets a new one', async () => {
  const { proxy, url } = await proxied()
  const connection = connect({ url })
  const idOf = () => connection.run('CLIENT ID', (client) => client.client('ID')).catch(() => undefined)
  await expect.poll(idOf).toBeGreaterThan(0)
  const id = await idOf()
  const halfOpen = () => expect.poll(() => connection.circuit, { timeout: 10_000 }).toBe('half-open')
  const open = async () => {
    proxy.stall()
    for (let i = 0; i < 3; i++) expect(await idOf()).toBeUndefined()
  }
  await open()
  proxy.resume() // here their answers come
  await halfOpen()
  proxy.stall()
  expect(await idOf()).toBeUndefined()
  proxy.resume()
  await expect.poll(idOf, { timeout: 10_000 }).toBe(id)

  await open()
  await halfOpen()
  expect(await idOf()).toBeUndefined()
  proxy.resume()
  await expect.poll(idOf, { timeout: 10_000 }).toBeGreaterThan(id as number)
})

test('it connects again by itself after the server came back', async () => {
  const { proxy, url } = await proxied()
  const connection = connect({ url })
  await expect.poll(() => connection.ping().catch(() => 0)).toBeGreaterThan(0)
  await proxy.refuse()
  expect((await timed(connection.ping())).error).toMatchObject({ code: 'REDIS_UNAVAILABLE' })
  await proxy.accept()
  await expect.poll(() => connection.ping().catch(() => 0), { timeout: 10_000 }).toBeGreaterThan(0)
})

test('an error that Redis answers with keeps the circuit closed and names the reply', async () => {
  const connection = connect({ url: inject('redisUrl'), timeoutMs: 1000 })
  for (let i = 0; i < 5; i++) {
    const refused = connection.run('EVAL', (client) => client.eval("return redis.error_reply('READONLY no writes here')", 0))
    expect((await timed(refused)).error).toMatchObject({
      code: 'REDIS_COMMAND_FAILED',
      context: { command: 'EVAL', reply: 'READONLY' },
    })
    await expect.poll(() => connection.ping().catch(() => 0)).toBeGreaterThan(0)
  }
})

test('an outage is logged once with what the connection is for, and by nobody without a logger', async () => {
  const { proxy, url } = await proxied()
  const lines: string[] = []
  const log = (message: string) => lines.push(message)
  const named = new RedisConnection({ url }, { logger: { ...silentLogger, warn: log, info: log }, use: 'the cache' })
  const quiet = new RedisConnection({ url })
  opened.push(named, quiet)
  const written = vi.spyOn(console, 'warn')
  await proxy.refuse()
  for (let n = 0; n < 3; n++) {
    for (const connection of [named, quiet]) await connection.ping().catch(() => {})
  }
  await proxy.accept()
  await expect
    .poll(() => lines, { timeout: 10_000 })
    .toEqual([`Redis for the cache at ${url} is away`, `Redis for the cache at ${url} is back`])
  expect(written).not.toHaveBeenCalled()
  written.mockRestore()
})

test("the caller's own client is survived with default settings, warned about, and not closed", async () => {
  const { proxy, url } = await proxied()
  const client = new Redis(url)
  client.on('error', () => undefined)
  const warnings: string[] = []
  const connection = connect({ client }, { ...silentLogger, warn: (message) => warnings.push(message) })
  await expect.poll(() => connection.ping().catch(() => 0)).toBeGreaterThan(0)
  expect(warnings).toHaveLength(1)
  await proxy.refuse()
  for (let i = 0; i < 3; i++) {
    const { error, ms } = await timed(connection.ping())
    expect(error).toMatchObject({ code: 'REDIS_UNAVAILABLE' })
    expect(ms).toBeLessThan(500)
  }
  await proxy.accept()
  await expect.poll(() => client.ping()).toBe('PONG')
  await connection.close()
  expect(client.status).toBe('ready')
  client.disconnect()
})

/** The timers that a piece of work begins and does not clear, some turns behind its end: a socket that was ended closes within these. */
async function timersLeftBy(work: () => Promise<void>): Promise<number> {
  const begun = vi.spyOn(globalThis, 'setTimeout')
  const cleared = vi.spyOn(globalThis, 'clearTimeout')
  try {
    await work()
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
    const ended = new Set(cleared.mock.calls.map(([timer]) => timer))
    return begun.mock.results.filter(({ value }) => !ended.has(value)).length
  } finally {
    begun.mockRestore()
    cleared.mockRestore()
  }
}

describe.each(['that answers', 'that stands still'])('behind a Redis %s', (which) => {
  const open = async () => {
    const server = await openRedisServer()
    opened.push(server)
    return { url: server.url, freeze: () => which === 'that stands still' && server.freeze() }
  }

  test('a connection leaves no timer when it closes', async () => {
    const { url, freeze } = await open()
    const connection = connect({ url })
    await expect.poll(() => connection.ping().catch(() => 0)).toBeGreaterThan(0)
    freeze()
    expect(await timersLeftBy(() => connection.close())).toBe(0)
  })

  test('a subscription leaves no timer when it closes', async () => {
    const { url, freeze } = await open()
    let ready = 0
    const subscription = new RedisSubscription({ url }, ['a'], () => {}, silentLogger, { onConnection: () => void ready++ })
    opened.push(subscription)
    await expect.poll(() => ready).toBe(1)
    freeze()
    expect(await timersLeftBy(() => subscription.close())).toBe(0)
  })
})

test('a client that has ended is discarded without a timer', async () => {
  const client = new Redis(inject('redisUrl'))
  const ended = new Promise((resolve) => client.once('end', resolve))
  await client.quit()
  await ended
  expect(await timersLeftBy(async () => discard(client))).toBe(0)
})

test('it closes twice, before it connected too, and refuses commands afterwards', async () => {
  const connection = connect({ url: inject('redisUrl') })
  await connection.close()
  await connection.close()
  expect((await timed(connection.ping())).error).toMatchObject({ code: 'CLOSED' })
})

test.each([
  [{}, 'exactly one'],
  [{ url: 'redis://localhost', timeoutMs: 0 }, 'from 1 to 60000'],
])('options %j are refused at the door', (options, why) => {
  expect(() => new RedisConnection(options)).toThrow(why)
})

test.each([
  ['a wrong password', 'someone:wrong@', 'WRONGPASS'],
  ['no password', '', 'NOAUTH'],
])('%s is told by every command, not by the log alone', async (_, credentials, words) => {
  const server = await openRedisServer({ requirepass: 'right' })
  opened.push(server)
  const connection = connect({ url: server.url.replace('://', `://${credentials}`), timeoutMs: 1000 })
  await expect.poll(() => connection.ping().catch((error: Error) => error.message), { timeout: 10_000 }).toContain(words)
  const { error } = await timed(connection.ping())
  expect(error).toMatchObject({
    code: 'REDIS_UNAVAILABLE',
    message: expect.stringContaining('Give a user and a password in its URL'),
  })
  expect((error as Error).message).not.toMatch(/wrong@|comes back by itself/)
})
