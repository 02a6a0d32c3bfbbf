import { Redis } from 'ioredis'
import { afterEach, beforeEach, expect, inject, test } from 'vitest'
import { openProxy, type TcpProxy } from '../support/tcp-proxy.ts'

let proxy: TcpProxy
let client: Redis

beforeEach(async () => {
  proxy = await openProxy(Number(new URL(inject('redisUrl')).port || 6379))
  client = new Redis({ port: proxy.port, host: '127.0.0.1', retryStrategy: () => 5, maxRetriesPerRequest: 0 })
  client.on('error', () => undefined)
  await client.ping()
})
afterEach(async () => {
  client.disconnect()
  await proxy.close()
})

test('a proxy lets commands and replies through', async () => {
  expect(await client.echo('through the proxy')).toBe('through the proxy')
  expect(proxy.open).toBe(1)
})

test('a stalled proxy keeps the connection and answers after resume', async () => {
  proxy.stall()
  let answered = false
  const reply = client.ping().then((pong) => {
    answered = true
    return pong
  })
  // Another connection goes there and back meanwhile: time enough for an answer that is not held.
  const direct = new Redis(inject('redisUrl'))
  await direct.ping()
  await direct.quit()
  expect(answered).toBe(false)
  expect(proxy.open).toBe(1)
  proxy.resume()
  expect(await reply).toBe('PONG')
})

test('a connection made while the proxy stalls is open and silent until resume', async () => {
  proxy.stall()
  const late = new Redis({ port: proxy.port, host: '127.0.0.1' })
  const reply = late.ping()
  await expect.poll(() => proxy.open).toBe(2)
  proxy.resume()
  expect(await reply).toBe('PONG')
  late.disconnect()
})

test('a cut fails the command under way and lets the next connection through', async () => {
  proxy.stall()
  const reply = client.ping()
  await new Promise((resolve) => setImmediate(resolve))
  const failure = expect(reply).rejects.toThrow()
  proxy.resume()
  proxy.cut()
  await failure
  await expect.poll(() => client.ping().catch(() => 'not yet')).toBe('PONG')
})

test('a refusing proxy takes no connection until it accepts again', async () => {
  await proxy.refuse()
  const refused = new Redis({ port: proxy.port, host: '127.0.0.1', lazyConnect: true, retryStrategy: () => null })
  refused.on('error', () => undefined)
  await expect(refused.connect()).rejects.toThrow()
  await proxy.accept()
  await expect.poll(() => client.ping().catch(() => 'not yet')).toBe('PONG')
})

test('a proxy may be closed twice', async () => {
  await proxy.close()
  await proxy.close()
})
