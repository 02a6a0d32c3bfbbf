import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest'
import { createDataAccess, type DataAccess } from '../../../src/data-access.ts'
import { DataAccessExtension } from '../../../src/extension.ts'
import { monotonicClock } from '../../../src/kernel/clock.ts'
import { type RedisWakeOptions, redisWake } from '../../../src/outbox/redis-wake/redis-wake.ts'
import type { Relay } from '../../../src/outbox/relay/relay.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../../support/databases.ts'
import { MemoryLogger } from '../../support/memory-logger.ts'
import { NoteTagged, notes } from '../../support/notes-module.ts'
import { openTestRedis, type TestRedis } from '../../support/redis.ts'
import { openProxy, type TcpProxy } from '../../support/tcp-proxy.ts'

/** So long that an event which is published within a test was not found by polling. */
const never = { min: 60_000, max: 60_000 }

describe.each(dialects)('a wake over Redis on %s', (dialect) => {
  let database: TestDatabase
  let ground: TestRedis
  let proxy: TcpProxy
  let channel: string
  let logger: MemoryLogger
  let seen: unknown[]
  const opened: DataAccess[] = []
  const children: ChildProcess[] = []

  beforeEach(async () => {
    database = await openTestDatabase(dialect)
    ground = await openTestRedis()
    proxy = await openProxy(Number(new URL(inject('redisUrl')).port))
    channel = `${ground.prefix}wake`
    logger = new MemoryLogger()
    seen = []
  })
  afterEach(async () => {
    for (const child of children.splice(0)) child.kill()
    for (const data of opened.splice(0)) await data.close()
    await proxy.close()
    await ground.close()
    await database.close()
  })

  async function open(options: Partial<RedisWakeOptions> = {}): Promise<DataAccess> {
    const wake = redisWake({ url: `redis://127.0.0.1:${proxy.port}`, channel, ...options })
    const data = await createDataAccess({ modules: [notes], database: { url: database.url }, wake, logger })
    opened.push(data)
    await data.migrate()
    return data
  }
  async function startRelay(data: DataAccess, pollInterval: { min: number; max: number }): Promise<Relay> {
    const relay = data.outbox.relay({ publisher: ({ payload }) => void seen.push(payload), pollInterval })
    return relay.start()
  }
  const sure = (data: DataAccess) => DataAccessExtension.of(data.orm).wake.sure
  const record = (data: DataAccess, payload: unknown) =>
    data.unitOfWork(async ({ record: write }) => void write(NoteTagged, 'n', payload))

  test('a commit in another process wakes the relay, though it would not poll', async () => {
    const data = await open()
    await startRelay(data, never)
    await expect.poll(() => sure(data), { timeout: 5000 }).toBe(true)
    const script = fileURLToPath(new URL('../../support/wake-in-child.ts', import.meta.url))
    const options = { url: database.url, redisUrl: ground.url, channel }
    const child = fork(script, [JSON.stringify(options)], { execArgv: [], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    children.push(child)
    await once(child, 'message')
    for (const payload of [1, 2, 3]) {
      child.send(payload)
      await expect.poll(() => seen.at(-1), { interval: 5, timeout: 5000 }).toBe(payload)
    }
    child.send('stop')
    await once(child, 'exit')
    expect(seen).toEqual([1, 2, 3])
  })

  test('a burst of commits is a few messages, and those of other channels wake nobody', async () => {
    const data = await open()
    const listener = new Redis(ground.url)
    const messages: string[] = []
    await listener.subscribe(channel)
    listener.on('message', (_channel, text) => messages.push(text))
    await record(data, 0)
    await expect.poll(() => messages.length, { timeout: 5000 }).toBe(1)
    const startedAt = performance.now()
    await Promise.all(Array.from({ length: 50 }, (_, n) => record(data, n + 1)))
    const tookMs = performance.now() - startedAt
    await expect.poll(() => messages.length).toBeGreaterThan(1)
    await monotonicClock.wait(60)
    expect(messages.every((text) => text.endsWith(' wake'))).toBe(true)
    // One at a time, 20 ms apart.
    expect(messages.length).toBeLessThanOrEqual(3 + tookMs / 20)
    await listener.quit()
  })

  test('a channel that falls silent is noticed, holds no commit up, and comes back', async () => {
    const data = await open()
    await startRelay(data, { min: 60, max: 600 })
    await expect.poll(() => sure(data), { timeout: 5000 }).toBe(true)
    proxy.stall()
    await expect.poll(() => sure(data), { timeout: 10_000 }).toBe(false)
    // The message never leaves, and nobody waits for it.
    await record(data, 1)
    await expect.poll(() => seen, { timeout: 10_000 }).toEqual([1])
    const warnings = () => logger.warnings.map(({ message }) => message).join()
    await expect.poll(warnings, { timeout: 10_000 }).toContain(`No wake comes through on channel ${channel}`)
    proxy.resume()
    await expect.poll(() => sure(data), { timeout: 15_000 }).toBe(true)
  }, 40_000)

  test('while Redis is away a commit and a close take no longer, and polling finds the events of others', async () => {
    await proxy.refuse()
    const data = await open()
    const other = await open()
    await startRelay(data, { min: 10, max: 100 })
    await record(other, 1)
    await expect.poll(() => seen, { timeout: 5000 }).toEqual([1])
    expect(sure(data)).toBe(false)
    // Which of the connections of a process, for the cache may have another.
    expect(logger.warnings.map(({ message }) => message)).toContainEqual(expect.stringMatching(/^Redis for wakes at .* is away$/))
    await data.close()
    await data.close()
    await proxy.accept()
  })

  test('a client that is given is copied to hear, and never closed', async () => {
    const client = new Redis(ground.url)
    const data = await open({ url: undefined, client })
    await startRelay(data, never)
    await expect.poll(() => sure(data), { timeout: 5000 }).toBe(true)
    const other = await open()
    await record(other, 1)
    await expect.poll(() => seen, { timeout: 5000 }).toEqual([1])
    await data.close()
    expect(await client.ping()).toBe('PONG')
    await client.quit()
  })
})

test('connections that were swallowed before they were ready are replaced', async () => {
  const database = await openTestDatabase('sqlite')
  const redisPort = Number(new URL(inject('redisUrl')).port)
  const sockets = new Set<Socket>()
  // As when packets get lost for good: the first connections stand, and nothing ever comes back on them.
  let swallowed = 0
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => {}))
    if (++swallowed <= 2) return
    const target = createConnection(redisPort, '127.0.0.1').on('error', () => {})
    sockets.add(target)
    socket.pipe(target).pipe(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const wake = redisWake({ url: `redis://127.0.0.1:${port}`, channel: `swallowed-${port}` })
  const data = await createDataAccess({ modules: [notes], database: { url: database.url }, wake, logger: new MemoryLogger() })
  await data.migrate()
  await data.outbox.relay({ publisher: () => {} }).start()
  await expect.poll(() => DataAccessExtension.of(data.orm).wake.sure, { timeout: 20_000 }).toBe(true)
  expect(swallowed).toBeGreaterThan(3)
  await data.close()
  for (const socket of sockets) socket.destroy()
  server.close()
  await database.close()
}, 30_000)

test('options that make no sense are refused', () => {
  expect(() => redisWake({ url: 'redis://127.0.0.1', channel: '' })).toThrow(/channel of redisWake is empty/)
  expect(() => redisWake({})).toThrow(/exactly one/)
})
