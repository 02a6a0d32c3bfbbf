import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { describe, expect, it } from 'vitest'
import { openTestDatabase } from '../../support/databases.ts'
import { repository } from '../../support/programs.ts'
import { openTestRedis } from '../../support/redis.ts'

describe('the production wiring', () => {
  it.each(['redisPubSub', 'redisStreams'])('with %s ends by itself after SIGTERM, having published', async (kind) => {
    const [database, redis] = await Promise.all([openTestDatabase('postgresql'), openTestRedis()])
    const args = ['test/support/production-in-child.ts', database.url, redis.url, redis.prefix, kind]
    const child = spawn(process.execPath, args, { cwd: repository, stdio: ['ignore', 'pipe', 'inherit'] })
    const ended = once(child, 'exit')
    try {
      await Promise.race([once(child.stdout, 'data'), ended.then(() => Promise.reject(new Error('the child ended early')))])
      child.kill('SIGTERM')
      // Killed by the test's end, it would have a signal in place of a code.
      expect(await ended).toEqual([0, null])
    } finally {
      child.kill('SIGKILL')
      await Promise.all([database.close(), redis.close()])
    }
  })
})
