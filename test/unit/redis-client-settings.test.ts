import { Cluster, Redis } from 'ioredis'
import { expect, test } from 'vitest'
import { type RedisClient, warnOfClientSettings } from '../../src/redis/redis-client.ts'
import { MemoryLogger } from '../support/memory-logger.ts'

interface Settings {
  enableOfflineQueue?: boolean
  commandTimeout?: number
  socketTimeout?: number
}
const safe = { enableOfflineQueue: false, commandTimeout: 1000, socketTimeout: 2000 }
const node = { host: '127.0.0.1', port: 1 }
const one = (settings: Settings) => new Redis({ ...settings, lazyConnect: true })
const bySentinels = (failoverDetector: boolean) =>
  new Redis({ ...safe, sentinels: [node], name: 'main', failoverDetector, lazyConnect: true })
const cluster = ({ enableOfflineQueue = true, ...redisOptions }: Settings) =>
  new Cluster([node], { lazyConnect: true, redisOptions, enableOfflineQueue })

function warned(client: RedisClient): unknown {
  const logger = new MemoryLogger()
  for (let times = 0; times < 2; times++) warnOfClientSettings(client, logger)
  expect(logger.warnings.length).toBeLessThan(2)
  return (logger.warnings[0]?.context as { settings: string[] } | undefined)?.settings.map(
    (text) => /^(without )?\w+/.exec(text)?.[0],
  )
}

test.each<[string, RedisClient, string[] | undefined]>([
  ['a client with safe settings', one(safe), undefined],
  ['a cluster with safe settings', cluster(safe), undefined],
  ['a client of Sentinels that hears of failovers', bySentinels(true), undefined],
  ['a client by default', one({}), ['enableOfflineQueue', 'without commandTimeout', 'without socketTimeout']],
  ['a cluster by default', cluster({}), ['enableOfflineQueue', 'without commandTimeout', 'without socketTimeout']],
  ['a client of Sentinels that does not', bySentinels(false), ['without failoverDetector']],
])('of %s it is told once what is risky', (_, client, settings) => {
  expect(warned(client)).toEqual(settings)
})
