import { expect, test, vi } from 'vitest'
import manifest from '../../package.json' with { type: 'json' }
import { redisCache } from '../../src/cache/redis/redis-cache.ts'
import { silentLogger } from '../../src/kernel/logger.ts'
import { RedisConnection } from '../../src/redis/redis-connection.ts'

vi.mock('ioredis', () => {
  throw new Error("Cannot find package 'ioredis'")
})

test('without ioredis the first command says what to install, and constructing it does not', async () => {
  const connection = new RedisConnection({ url: 'redis://localhost' }, { logger: silentLogger })
  connection.connect()
  await expect(connection.ping()).rejects.toMatchObject({
    code: 'DRIVER_MISSING',
    message: expect.stringContaining('npm install ioredis@6'),
  })
  await connection.close()
})

test('the version to install is one that this package takes', () => {
  expect(manifest.peerDependencies.ioredis).toMatch(/\^6\./)
})

test('a choice of Redis tells it before anything is open', async () => {
  await expect(redisCache({ url: 'redis://localhost' }).prepare?.()).rejects.toMatchObject({ code: 'DRIVER_MISSING' })
})
