import { assessment } from '../../src/assessment/assessment-module.ts'
import { User, userCache } from '../../src/assessment/index.ts'
import { redisCache } from '../../src/cache/redis/redis-cache.ts'
import { createDataAccess } from '../../src/data-access.ts'
import { DataAccessExtension } from '../../src/extension.ts'
import { silentLogger } from '../../src/kernel/logger.ts'
import type { CacheOrder, CacheProcessOptions } from './cache-process.ts'

// A process with a cache that tests can kill: it does what it is told, and answers when it has done it.
const { url, redisUrl, prefix } = JSON.parse(process.argv[2] as string) as CacheProcessOptions
const cache = redisCache({ url: redisUrl, prefix, timeoutMs: 5000 })
const data = await createDataAccess({ modules: [assessment], database: { url }, cache, logger: silentLogger })

process.on('message', async ({ verb, id, name }: CacheOrder) => {
  if (verb === 'rename and die at the commit') {
    // Before the cache hears of the commit.
    DataAccessExtension.of(data.orm).join({ name: 'death', afterCommit: async () => void process.kill(process.pid, 'SIGKILL') })
  }
  if (verb === 'close') {
    await data.close()
    process.disconnect()
    return
  }
  if (verb === 'read') {
    process.send?.({ name: (await data.cached(userCache).get(id))?.name })
    return
  }
  await data.unitOfWork(async ({ em }) => {
    ;(await em.findOneOrFail(User, id)).name = name ?? ''
  })
  process.send?.({ done: verb })
})
process.send?.('ready')
