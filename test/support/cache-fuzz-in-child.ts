import { LockMode } from '@mikro-orm/core'
import { assessment, User, userCache } from '../../src/assessment/index.ts'
import { redisCache } from '../../src/cache/redis/redis-cache.ts'
import { createDataAccess } from '../../src/data-access.ts'
import { silentLogger } from '../../src/kernel/logger.ts'
import type { FuzzObservation, FuzzOptions, FuzzReport } from './cache-fuzz.ts'

// A process that reads and writes at random until it is killed, and tells what it saw and when. The name of a user is the number
// of its version. All processes of a machine share this clock, which never goes back.
const now = () => Number(process.hrtime.bigint() / 1000n)

const { url, redisUrl, prefix, users, copiesMs } = JSON.parse(process.argv[2] as string) as FuzzOptions
const tier = copiesMs === undefined ? {} : { tier: { ttl: copiesMs } }
const cache = redisCache({ url: redisUrl, prefix, timeoutMs: 5000, ...tier })
const by = process.pid
const data = await createDataAccess({ modules: [assessment], database: { url }, cache, logger: silentLogger })
const driver = data.orm.em.getDriver()
const find = driver.find
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
// One read in three hands its rows out late: a slow network, a paused process.
driver.find = (async (...args: Parameters<typeof find>) => {
  const rows = await find.apply(driver, args)
  if (Math.random() < 0.3) await pause(Math.random() * 30)
  return rows
}) as typeof find

let seen: FuzzObservation[] = []
const tell = (observation: FuzzObservation) => seen.push(observation)
const report = () => {
  const told: FuzzReport = { observations: seen, atHand: data.cached(userCache).stats().atHand }
  seen = []
  process.send?.(told)
}
setInterval(report, 20)
const anyUser = () => users[Math.floor(Math.random() * users.length)] as (typeof users)[number]

async function write(): Promise<void> {
  const { id } = anyUser()
  const before = (await data.stats()).cache?.invalidations.unacknowledged
  const version = await data.unitOfWork(async ({ em }) => {
    const user = await em.findOneOrFail(User, id, { lockMode: LockMode.PESSIMISTIC_WRITE })
    user.name = String(Number(user.name) + 1)
    return Number(user.name)
  })
  const at = now()
  // What Redis did not acknowledge in time is promised later, by the sweep.
  if ((await data.stats()).cache?.invalidations.unacknowledged === before) tell({ kind: 'committed', by, id, version, at })
}

async function read(): Promise<void> {
  const { id, email } = anyUser()
  const cached = data.cached(userCache)
  const at = now()
  const way = Math.random()
  if (way < 0.1) {
    const found = await cached.getMany(users.map((user) => user.id))
    for (const user of found) if (user !== null) tell({ kind: 'read', by, id: user.id, version: Number(user.name), at })
    return
  }
  const user = await (way < 0.2 ? cached.byEmail(email) : way < 0.25 ? cached.get(id, { fresh: true }) : cached.get(id))
  tell({ kind: 'read', by, id, version: Number(user?.name ?? -1), at })
}

async function forEver(step: () => Promise<void>, longestPauseMs: number): Promise<never> {
  for (;;) {
    await step()
    await pause(Math.random() * longestPauseMs)
  }
}

process.on('disconnect', () => process.exit())
void forEver(write, 20)
for (let reader = 0; reader < 4; reader++) void forEver(read, 3)
report()
