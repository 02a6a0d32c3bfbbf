import { withQueries } from '@innovateai/data-access'
import { AIRScore, latestScore, User, userCache } from '@innovateai/data-access/assessment'
import { compareStrategies } from './support/compare-strategies.ts'
import { connect, removeUsers } from './support/connect.ts'
import { chapter, ms, percent, shown, step, table } from './support/print.ts'

const data = await connect()
chapter('Chapter 4 · Read-through caching')
await data.migrate()
await removeUsers(data, '@caching.example')

const [alexId = '', ...otherIds] = await data.unitOfWork(async ({ em }) => {
  const names = ['Alex', ...Array.from({ length: 19 }, (_, index) => `User ${index + 2}`)]
  return names.map((name, index) => em.create(User, { email: `user-${index + 1}@caching.example`, name }).id)
})
await addScore(71.5)
const nobody = `${alexId}@caching.example` // a new address in each run: that it is nobody's may still be cached from the last one

step('A user: read from the database once, then from the cache, until it changes')
table(
  ['read', 'gives', 'answered by', 'queries', 'time'],
  [
    await read('get(id)', () => data.cached(User).get(alexId)),
    await read('get(id) again', () => data.cached(User).get(alexId)),
    await read('byEmail(mail)', () => data.cached(userCache).byEmail('user-1@caching.example')),
    await read('byEmail(mail) again', () => data.cached(userCache).byEmail('user-1@caching.example')),
    await read('byEmail of nobody', () => data.cached(userCache).byEmail(nobody)),
    await read('byEmail of nobody again', () => data.cached(userCache).byEmail(nobody)),
    ['', '', '', '', ''],
    ['a unit of work renames Alex', await rename('Alexandra'), '', '', ''],
    await read('get(id) after the commit', () => data.cached(User).get(alexId)),
    await read('get(id) again', () => data.cached(User).get(alexId)),
    ['', '', '', '', ''],
    ['invalidate(id)', String((await data.cached(User).invalidate(alexId)) ?? 'expired'), '', '', ''],
    await read('get(id)', () => data.cached(User).get(alexId)),
  ],
)

step('A cached query: the latest score of a user expires when a newer one commits')
table(
  ['read', 'gives', 'answered by', 'queries', 'time'],
  [
    await read('latestScore', () => data.cached(latestScore).get({ userId: alexId })),
    await read('latestScore again', () => data.cached(latestScore).get({ userId: alexId })),
    ['', '', '', '', ''],
    ['a unit of work that rolls back', await addScore(12.5, 'roll back'), '', '', ''],
    await read('latestScore', () => data.cached(latestScore).get({ userId: alexId })),
    ['', '', '', '', ''],
    ['a unit of work that commits', await addScore(93.25), '', '', ''],
    await read('latestScore', () => data.cached(latestScore).get({ userId: alexId })),
  ],
)

step('2000 reads of 20 users, one in a hundred followed by a change of that user')
for (let number = 0; number < 2000; number++) {
  const id = [alexId, ...otherIds][(number * 7) % 20] ?? alexId
  await data.cached(User).get(id)
  if (number % 100 === 99) await rename(`Name ${number}`, id)
}
const { requests, hits, misses, negative, hitRate, tCache, tDatabase, tAverage } = data.cached(User).stats()
table(
  ['figure', 'formula', 'value'],
  [
    ['requests', 'hits + misses', `${requests} = ${hits} + ${misses}, ${negative} of the hits negative`],
    ['H', 'hits / requests', percent(hitRate)],
    ['T_cache', 'one look into the cache', ms(tCache)],
    ['T_database', 'one query of the database', ms(tDatabase)],
    ['T_avg', 'H × T_cache + (1 − H) × (T_cache + T_database)', ms(tAverage)],
  ],
)
const gain = ((tCache + tDatabase) / tAverage).toFixed(1)
console.log(`A read takes ${ms(tAverage)} on average, ${gain}× as fast as with misses alone.`)

step('Four strategies under four patterns of access; some writes overtake a reader that is slow')
table(
  ['pattern', 'strategy', 'H', 'T_avg', 'queries per read', 'stale reads'],
  (await compareStrategies(data, [alexId, ...otherIds])).map((one) => [
    ...[one.pattern, one.strategy, percent(one.hitRate), ms(one.tAverage)],
    ...[one.queriesPerRead.toFixed(2), one.staleReads],
  ]),
)

await removeUsers(data, '@caching.example')
await data.close()
shown('reads that cost no query until a commit changes their rows, and then never give the old ones, whoever was slow.')

async function read(name: string, load: () => Promise<User | AIRScore | null>): Promise<(string | number)[]> {
  return withQueries(async (queries) => {
    const start = performance.now()
    const found = await load()
    const time = performance.now() - start
    const gives = found === null ? 'null' : 'email' in found ? found.name : found.airScore
    return [name, gives, queries.count === 0 ? 'cache (hit)' : 'database (miss)', queries.count, ms(time)]
  })
}

async function rename(name: string, id = alexId): Promise<string> {
  await data.unitOfWork(async ({ em }) => {
    const user = await em.getRepository(User).getOrFail(id)
    user.name = name
  })
  return name
}

async function addScore(airScore: number, end: 'commit' | 'roll back' = 'commit'): Promise<string> {
  const rest = { vrScore: 80, hrScore: 75, synergyScore: 90, ciLower: 55, ciUpper: 95, parameterVersion: 'v1.2' }
  const work = data.unitOfWork(async ({ em }) => {
    em.create(AIRScore, { user: em.getReference(User, alexId), occupationCode: '15-1252', airScore, ...rest })
    await em.flush()
    if (end === 'roll back') throw new Error('thrown by the work')
  })
  return work.then(
    () => `score ${airScore} stored`,
    (error: Error) => error.message,
  )
}
