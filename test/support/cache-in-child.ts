import type { SqlEntityManager } from '@mikro-orm/sql'
import { assessment } from '../../src/assessment/assessment-module.ts'
import { AIRScore, latestScore, User, userCache } from '../../src/assessment/index.ts'
import { redisCache } from '../../src/cache/redis/redis-cache.ts'
import { createDataAccess } from '../../src/data-access.ts'
import { DataAccessExtension } from '../../src/extension.ts'
import { silentLogger } from '../../src/kernel/logger.ts'
import type { CacheOrder, CacheProcessOptions } from './cache-process.ts'
import { openOwnOrm } from './own-orm.ts'

// A process with a cache that tests can kill: it does what it is told, and answers when it has done it.
const { url, redisUrl, prefix, adopted = false } = JSON.parse(process.argv[2] as string) as CacheProcessOptions
const cache = redisCache({ url: redisUrl, prefix, timeoutMs: 5000 })
const modules = [assessment]
const data = adopted
  ? await createDataAccess({ orm: await openOwnOrm(url, modules), cache })
  : await createDataAccess({ modules, database: { url }, cache, logger: silentLogger })

async function writeInBulk({ way, id, name = '' }: CacheOrder): Promise<void> {
  const em = data.fork()
  const row = { id, email: 'alex@innovateai.dev', name, createdAt: new Date(), updatedAt: new Date() }
  if (way === 'nativeUpdate') await em.nativeUpdate(User, { id }, { name })
  else if (way === 'upsert') await em.upsert(User, row)
  else if (way === 'insertMany') await em.insertMany(User, [row])
  else await (em as SqlEntityManager).createQueryBuilder(User).update({ name }).where({ id }).execute()
}

/** Ends the transaction that was left open. */
let end: (how: CacheOrder['verb']) => void = () => undefined

/** Answers from inside with what its own transaction sees, and once more when that has ended. */
async function renameAndStay({ id, name = '' }: CacheOrder): Promise<void> {
  const ending = Promise.withResolvers<CacheOrder['verb']>()
  end = ending.resolve
  const unit = data.unitOfWork(async ({ em, cached }) => {
    const user = await em.findOneOrFail(User, id)
    user.name = name
    await em.flush()
    const [byId, byEmail] = [await cached(User).get(id), await cached(userCache).byEmail(user.email)]
    process.send?.({ names: [byId?.name, byEmail?.name] })
    if ((await ending.promise) === 'roll back') throw new Error('to be rolled back')
  })
  await unit.catch(() => undefined)
  process.send?.({ done: await ending.promise })
}

process.on('message', async (order: CacheOrder) => {
  const { verb, id, name } = order
  if (verb === 'commit' || verb === 'roll back') {
    end(verb)
    return
  }
  if (verb === 'rename in a transaction that stays open') {
    await renameAndStay(order)
    return
  }
  if (verb.endsWith('and die at the commit')) {
    // Before the cache hears of the commit.
    DataAccessExtension.of(data.orm).subscriber.join({
      name: 'death',
      afterCommit: async () => void process.kill(process.pid, 'SIGKILL'),
    })
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
  if (verb === 'read at once a hundred times') {
    const users = await Promise.all(Array.from({ length: 100 }, () => data.cached(userCache).get(id)))
    process.send?.({ names: [...new Set(users.map((user) => user?.name))], loads: data.cached(userCache).stats().loads })
    return
  }
  if (verb === 'latest score') {
    process.send?.({ occupationCode: (await data.cached(latestScore).get({ userId: id }))?.occupationCode ?? null })
    return
  }
  if (verb === 'write in bulk and die at the commit') {
    await writeInBulk(order)
    return
  }
  if (verb === 'tell what it swept') {
    process.send?.({ swept: (await data.stats()).cache?.invalidations.swept })
    return
  }
  if (verb === 'score and die at the commit') {
    const zeros = { airScore: 0, vrScore: 0, hrScore: 0, synergyScore: 0, ciLower: 0, ciUpper: 0 }
    await data.unitOfWork(async ({ em }) => {
      em.create(AIRScore, { user: id, occupationCode: name ?? '', parameterVersion: '1', ...zeros })
    })
    return
  }
  await data.unitOfWork(async ({ em }) => {
    ;(await em.findOneOrFail(User, id)).name = name ?? ''
  })
  process.send?.({ done: verb })
})
process.send?.('ready')
