import { Redis } from 'ioredis'
import { afterEach, expect, inject, test } from 'vitest'
import { silentLogger } from '../../src/kernel/logger.ts'
import { RedisSubscription } from '../../src/redis/redis-subscription.ts'
import { openProxyTo } from '../support/tcp-proxy.ts'

const opened: { close(): Promise<unknown> }[] = []
afterEach(async () => {
  for (const each of opened.splice(0).reverse()) await each.close()
})

test.each(['a URL', 'a client of the caller'])('a connection lost while it subscribes again is made anew, by %s', async (by) => {
  const unhandled: unknown[] = []
  const note = (error: unknown) => unhandled.push(error)
  process.on('unhandledRejection', note)
  const proxy = await openProxyTo(inject('redisUrl'))
  const client = new Redis(by === 'a URL' ? inject('redisUrl') : proxy.url, { maxRetriesPerRequest: 0 })
  opened.push(proxy, { close: async () => client.disconnect() })
  const channel = `subscription-${by}`
  const heard: string[] = []
  let connections = 0
  const subscription = new RedisSubscription(
    by === 'a URL' ? { url: proxy.url } : { client },
    [channel],
    (text) => heard.push(text),
    silentLogger,
    // Called as it is ready, before a reply to what it sends then could come back.
    { onConnection: () => void (connections++ > 1 && connections < 9 && proxy.cut()) },
  )
  opened.push(subscription)
  const hears = (text: string) =>
    expect
      .poll(
        () =>
          client.publish(channel, text).then(
            () => heard.includes(text),
            () => false,
          ),
        { timeout: 10_000 },
      )
      .toBe(true)
  await hears('at first')
  proxy.cut()
  await expect.poll(() => connections, { timeout: 10_000 }).toBeGreaterThan(8)
  await hears('in the end')
  process.off('unhandledRejection', note)
  expect(unhandled).toEqual([])
})
