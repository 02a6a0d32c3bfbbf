import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { AIRScore, assessment, latestScore, User } from '../../src/assessment/index.ts'
import { redisCache } from '../../src/cache/redis/redis-cache.ts'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { silentLogger } from '../../src/kernel/logger.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../support/databases.ts'
import { type ParkingOptions, type ParkingProcess, type ParkingRead, startParkingProcess } from '../support/parking-process.ts'
import { openTestRedis, type TestRedis } from '../support/redis.ts'

const patience = { timeout: 20_000, interval: 5 }

// The writer is this process; the reader is another one, which has what it read and does not keep it yet as the writer commits.
describe.each(dialects)('a read of another process on %s is parked across a committed write', { timeout: 60_000 }, (dialect) => {
  let database: TestDatabase
  let redis: TestRedis
  let here: DataAccess
  const processes: ParkingProcess[] = []
  beforeEach(async () => {
    database = await openTestDatabase(dialect)
    redis = await openTestRedis()
    const cache = redisCache({ url: redis.url, prefix: redis.prefix, timeoutMs: 5000 })
    here = await createDataAccess({ modules: [assessment], database: { url: database.url }, cache, logger: silentLogger })
    await here.migrate()
  })
  afterEach(async () => {
    for (const each of processes.splice(0)) await each.kill()
    await here.close()
    await redis.close()
    await database.close()
  })

  const start = async (options: Pick<ParkingOptions, 'tierMs' | 'staleAfterMs'> = {}) => {
    const child = await startParkingProcess({ url: database.url, redisUrl: redis.url, prefix: redis.prefix, ...options })
    processes.push(child)
    const figures = async () => (await child.tell({ verb: 'tell figures' })) as { refusedFills: number; atHand: number }
    return {
      figures,
      read: async (read: ParkingRead) => ((await child.tell({ verb: 'read', read })) as { gave: unknown }).gave,
      park: async (read: ParkingRead, where: 'load' | 'copy' = 'load') =>
        expect(await child.tell({ verb: 'park', where, read })).toBe('parked'),
      resume: async () => ((await child.tell({ verb: 'resume' })) as { gave: unknown }).gave,
      refused: (fills: number) => expect.poll(async () => (await figures()).refusedFills, patience).toBe(fills),
    }
  }
  const addUsers = (count: number) =>
    here.unitOfWork(async ({ em }) =>
      Array.from({ length: count }, (_, n) => em.create(User, { email: `${n}@innovateai.dev`, name: 'old' }).id),
    )
  /** Commits new names; whoever begins to read then must get them. */
  const rename = async (...ids: readonly string[]) => {
    await here.unitOfWork(async ({ em }) => {
      for (const user of await em.find(User, [...ids])) user.name = 'new'
    })
    await acknowledged()
  }
  /** A machine that is too slow acknowledges a commit later, and promises nothing before. */
  const acknowledged = () =>
    expect
      .poll(async () => {
        const waiting = (await here.stats()).cache?.invalidations.waiting
        if (waiting !== 0) await here.cached(User).get(crypto.randomUUID())
        return waiting
      }, patience)
      .toBe(0)

  test('by key', async () => {
    const [id] = (await addUsers(1)) as [string]
    const there = await start()
    await there.park({ what: 'row', id })
    await rename(id)
    expect(await there.read({ what: 'row', id })).toBe('new')
    expect(await there.resume()).toBe('old') // it began before the commit
    await there.refused(1)
    expect(await there.read({ what: 'row', id })).toBe('new')
    expect((await here.cached(User).get(id))?.name).toBe('new')
  })

  test('of many: each row by itself', async () => {
    const ids = await addUsers(3)
    const there = await start()
    await there.park({ what: 'rows', ids })
    await rename(ids[0] as string, ids[2] as string)
    expect(await there.read({ what: 'row', id: ids[0] as string })).toBe('new')
    expect(await there.resume()).toEqual(['old', 'old', 'old'])
    await there.refused(2)
    expect(await there.read({ what: 'rows', ids })).toEqual(['new', 'old', 'new'])
    expect((await here.cached(User).getMany(ids)).map((user) => user?.name)).toEqual(['new', 'old', 'new'])
  })

  test('by a dependency', async () => {
    const [id] = (await addUsers(1)) as [string]
    const there = await start()
    await there.park({ what: 'query', id })
    const zeros = { airScore: 0, vrScore: 0, hrScore: 0, synergyScore: 0, ciLower: 0, ciUpper: 0 }
    await here.unitOfWork(async ({ em }) => {
      em.create(AIRScore, { user: id, occupationCode: '15-1252', parameterVersion: '1', ...zeros })
    })
    await acknowledged()
    expect(await there.read({ what: 'query', id })).toBe('15-1252')
    expect(await there.resume()).toBeNull()
    expect(await there.read({ what: 'query', id })).toBe('15-1252')
    expect((await here.cached(latestScore).get({ userId: id }))?.occupationCode).toBe('15-1252')
  })

  test('to read anew what is past its ttl', async () => {
    const [id] = (await addUsers(1)) as [string]
    const there = await start({ staleAfterMs: 50 })
    expect(await there.read({ what: 'row', id })).toBe('old')
    await delay(100)
    await there.park({ what: 'row', id })
    await rename(id)
    expect(await there.read({ what: 'row', id })).toBe('new')
    expect(await there.resume()).toBe('old') // served while it was read anew
    await there.refused(1)
    expect(await there.read({ what: 'row', id })).toBe('new')
  })

  test('to copy what Redis told it', async () => {
    const [id, control] = (await addUsers(2)) as [string, string]
    const there = await start({ tierMs: 60_000 })
    const copied = async () => {
      const { atHand } = await there.figures()
      await there.read({ what: 'row', id: control })
      return (await there.figures()).atHand > atHand
    }
    await expect.poll(copied, patience).toBe(true)
    const users = here.cached(User)
    await expect.poll(() => users.get(id).then(() => users.stats().hits), patience).toBeGreaterThan(0)
    await there.park({ what: 'row', id }, 'copy')
    await rename(id, control)
    // The copy that it has ends as soon as it has heard of the commit: so the one on its way must be of no use.
    await expect.poll(() => there.read({ what: 'row', id: control }), patience).toBe('new')
    expect(await there.resume()).toBe('old')
    for (let reads = 0; reads < 5; reads++) expect(await there.read({ what: 'row', id })).toBe('new')
  })
})
