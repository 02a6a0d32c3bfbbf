import { type EntityManager, LockMode } from '@mikro-orm/core'
import { AIRScore, assessment, User, userCache } from '../../src/assessment/index.ts'
import { redisCache } from '../../src/cache/redis/redis-cache.ts'
import { createDataAccess } from '../../src/data-access.ts'
import { silentLogger } from '../../src/kernel/logger.ts'
import type { FuzzObservation, FuzzOptions, FuzzReport, FuzzWork } from './cache-fuzz.ts'
import { emailOf, fuzzModule, nameOf, scoresId, scoresOf, turnOf, versionsIn } from './cache-fuzz-module.ts'

// A process that reads and writes at random until it is killed, and tells what it saw and when. All processes of a machine share this
// clock, which never goes back.
const now = () => Number(process.hrtime.bigint() / 1000n)

const options = JSON.parse(process.argv[2] as string) as FuzzOptions
const { url, redisUrl, prefix, timeoutMs, sweepMs, users, copiesMs } = options
const tier = copiesMs === undefined ? {} : { tier: { ttl: copiesMs } }
const cache = redisCache({ url: redisUrl, prefix, timeoutMs, sweepMs, ...tier })
const by = process.pid
const modules = [assessment, fuzzModule]
const data = await createDataAccess({ modules, database: { url }, cache, logger: silentLogger })
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

const longestMs: Record<FuzzWork, number> = { read: 0, commit: 0 }
const underWay = new Set<{ readonly work: FuzzWork; readonly since: number }>()
const measure = (each: { readonly work: FuzzWork; readonly since: number }) => {
  longestMs[each.work] = Math.max(longestMs[each.work], performance.now() - each.since)
}
async function timed<T>(work: FuzzWork, run: () => Promise<T>): Promise<T> {
  const each = { work, since: performance.now() }
  underWay.add(each)
  try {
    return await run()
  } finally {
    underWay.delete(each)
    measure(each)
  }
}

const report = () => {
  for (const each of underWay) measure(each)
  const told: FuzzReport = {
    ...{ observations: seen, longestMs },
    atHand: data.cached(userCache).stats().atHand,
    queryHits: data.cached(scoresOf).stats().hits,
  }
  seen = []
  process.send?.(told)
}
setInterval(report, 20)

const any = <T>(list: readonly T[]): T => list[Math.floor(Math.random() * list.length)] as T
/** The turn of each user's address that was seen last. */
const turns = users.map(() => 0)

interface Change {
  readonly id: string
  readonly version: number
}

/** Users whom nobody else writes until this transaction has ended. */
function locked(em: EntityManager, userIds: readonly string[]): Promise<User[]> {
  return em.find(User, [...userIds], { lockMode: LockMode.PESSIMISTIC_WRITE, orderBy: { id: 'asc' } })
}

/** Writes down in the names of users that they were written, and whether their scores were. */
function counted(found: readonly User[], scores: boolean): Change[] {
  return found.flatMap((user) => {
    const { row, scores: before } = versionsIn(user.name)
    const versions = { row: row + 1, scores: before + (scores ? 1 : 0) }
    user.name = nameOf(versions)
    return [{ id: user.id, version: versions.row }, ...(scores ? [{ id: scoresId(user.id), version: versions.scores }] : [])]
  })
}

/** What a process does in one transaction: tells which versions there are then. */
const writes: readonly ((em: EntityManager) => Promise<readonly Change[]>)[] = [
  async (em) => counted(await locked(em, [any(users)]), false),
  async (em) => counted(await locked(em, [any(users)]), false),
  async function changeEmail(em) {
    const [user] = (await locked(em, [any(users)])) as [User]
    const [index, turn] = [users.indexOf(user.id), turnOf(user.email) + 1]
    user.email = emailOf(index, turn)
    // An address has an owner in its version 1, and nobody before and after.
    const addresses = [
      { id: user.email, version: 1 },
      { id: emailOf(index, turn - 1), version: 2 },
    ]
    return [...counted([user], false), ...addresses]
  },
  async function insert(em) {
    const [user] = (await locked(em, [any(users)])) as [User]
    const zeros = { vrScore: 0, hrScore: 0, synergyScore: 0, ciLower: 0, ciUpper: 0 }
    em.create(AIRScore, { user, occupationCode: 'fuzz', parameterVersion: '1', airScore: 0, ...zeros })
    return counted([user], true)
  },
  async function move(em) {
    const [from, to] = [any(users), any(users)]
    const both = await locked(em, [from, to])
    const [score] = await em.find(AIRScore, { user: from }, { limit: 1 })
    if (score === undefined) return []
    score.user = em.getReference(User, to, { wrapped: true })
    score.airScore += 1
    return [...counted(both, true), { id: score.id, version: score.airScore }]
  },
  async function remove(em) {
    const found = await locked(em, [any(users)])
    const scores = await em.find(AIRScore, { user: found[0] as User }, { limit: 2 })
    for (const score of scores) em.remove(score)
    return scores.length === 0 ? [] : counted(found, true)
  },
  async function inBulk(em) {
    const found = await locked(em, [any(users)])
    const [user] = found as [User]
    const scores = await em.find(AIRScore, { user })
    const airScore = Math.max(0, ...scores.map((score) => score.airScore)) + 1
    await em.nativeUpdate(AIRScore, { user }, { airScore })
    return [...counted(found, true), ...scores.map(({ id }) => ({ id, version: airScore }))]
  },
]

async function write(): Promise<void> {
  const unacknowledged = async () => (await data.stats()).cache?.invalidations.unacknowledged
  const before = await unacknowledged()
  const changes = await timed('commit', () => data.unitOfWork(({ em }) => any(writes)(em)))
  const at = now()
  // What Redis did not acknowledge in time is promised to others later, by the sweep.
  const untold = (await unacknowledged()) !== before
  for (const change of changes) tell({ kind: 'committed', by, ...change, at, unacknowledged: untold })
}

const sawUser = (user: User, at: number) => {
  tell({ kind: 'read', by, id: user.id, version: versionsIn(user.name).row, at })
  turns[users.indexOf(user.id)] = turnOf(user.email)
}

async function readAddress(index: number, at: number): Promise<void> {
  // The one before is nobody's any more, the next one not yet.
  const email = emailOf(index, Math.max(0, (turns[index] as number) + any([-1, 0, 1])))
  const user = await data.cached(userCache).byEmail(email)
  if (user !== null) {
    sawUser(user, at)
    tell({ kind: 'read', by, id: email, version: 1, at })
    return
  }
  const owned = await data.fork().count(User, { email })
  tell({ kind: 'read', by, id: email, version: owned > 0 ? 0 : 2, at })
}

async function read(): Promise<void> {
  const index = Math.floor(Math.random() * users.length)
  const id = users[index] as string
  const cached = data.cached(userCache)
  const fresh = Math.random() < 0.05
  const at = now()
  const way = Math.random()
  if (way < 0.1) {
    for (const user of await cached.getMany(users, { fresh })) if (user !== null) sawUser(user, at)
  } else if (way < 0.3) await readAddress(index, at)
  else if (way < 0.6) {
    const { version, scores } = await data.cached(scoresOf).get({ userId: id }, { fresh })
    tell({ kind: 'read', by, id: scoresId(id), version, at })
    for (const score of scores) tell({ kind: 'read', by, id: score.id, version: score.airScore, at })
  } else {
    const user = await cached.get(id, { fresh })
    if (user === null) tell({ kind: 'read', by, id, version: -1, at })
    else sawUser(user, at)
  }
}

async function forEver(step: () => Promise<void>, longestPauseMs: number): Promise<never> {
  for (;;) {
    await step()
    await pause(Math.random() * longestPauseMs)
  }
}

process.on('disconnect', () => process.exit())
void forEver(write, 20)
for (let reader = 0; reader < 4; reader++) void forEver(() => timed('read', read), 3)
report()
