import { Cluster, Redis } from 'ioredis'
import { expect, test } from 'vitest'
import { redisCache } from '../../../src/cache/redis/redis-cache.ts'

const node = { host: '127.0.0.1', port: 1 }
const cluster = (scaleReads?: 'master' | 'slave' | 'all' | (() => never)) =>
  new Cluster([node], { lazyConnect: true, ...(scaleReads === undefined ? {} : { scaleReads }) })
const sentinel = (role?: 'master' | 'slave') =>
  new Redis({ lazyConnect: true, sentinels: [node], name: 'cache', ...(role === undefined ? {} : { role }) })
const first = () => undefined as never

test.each([
  ['scaleReads', 'is "slave"', () => cluster('slave')],
  ['scaleReads', 'is "all"', () => cluster('all')],
  ['scaleReads', 'is a function', () => cluster(first)],
  ['role', 'is "slave"', () => sentinel('slave')],
])('a client that reads from replicas is refused: %s %s', (option, what, client) => {
  const message = `${option} of the client of redisCache ${what}, and a replica still has what an invalidation has ended on its master; leave ${option} out, or give 'master' (OPTION_INVALID)`
  expect(() => redisCache({ client: client() })).toThrow(message)
})

test('one that reads from masters is not', () => {
  for (const client of [cluster(), cluster('master'), sentinel(), sentinel('master')]) {
    expect(redisCache({ client }).name).toBe('redis')
  }
})
