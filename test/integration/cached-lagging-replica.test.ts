import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { AIRScore, airScoreCache, assessment, latestScore, User } from '../../src/assessment/index.ts'
import { cachedQuery, dep } from '../../src/cache/cached-query.ts'
import { cachePolicy, type Lifetime } from '../../src/cache/policy.ts'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { storeNames } from '../support/cache-ground.ts'
import { cacheOf } from '../support/cached-access.ts'
import { closesOpened } from '../support/opened.ts'
import { openOwnOrm } from '../support/own-orm.ts'
import { openReplicatedPostgresql, type ReplicatedPostgresql } from '../support/servers/postgresql-replica.ts'

const patience = { timeout: 20_000, interval: 20 }

describe('an ORM whose replica lags behind', () => {
  let servers: ReplicatedPostgresql
  let primary: pg.Client
  let replica: pg.Client
  beforeAll(async () => {
    servers = await openReplicatedPostgresql()
    primary = new pg.Client({ connectionString: servers.primaryUrl })
    replica = new pg.Client({ connectionString: servers.replicaUrl })
    for (const client of [primary, replica]) await client.connect()
  })
  afterAll(async () => {
    for (const client of [primary, replica]) await client?.end()
    await servers?.close()
  })
  afterEach(() => replica.query('select pg_wal_replay_resume()'))

  describe.each(storeNames)('with the %s store', (store) => {
    const track = closesOpened()

    const open = async (lifetime: Lifetime = {}) => {
      const users = cachePolicy(User, { jitter: 0, uniques: ['email'], ...lifetime })
      const nameById = cachedQuery({
        name: 'nameById',
        dependsOn: ({ id }: { id: string }) => [dep(User, { id })],
        run: async (em, { id }) => (await em.findOne(User, id))?.name,
        ...{ jitter: 0, ...lifetime },
      })
      const modules = [{ ...assessment, caches: [users, airScoreCache, latestScore, nameById] }]
      const replicas = { replicas: [{ clientUrl: servers.replicaUrl }], preferReadReplicas: true }
      const orm = track(await openOwnOrm(servers.primaryUrl, modules, replicas))
      const data = track(await createDataAccess({ orm, cache: cacheOf(store) }))
      await data.migrate()
      return { orm, data, users: data.cached(users), names: data.cached(nameById) }
    }
    const onReplica = async (id: string) => (await replica.query('select name from users where id = $1', [id])).rows[0]?.name
    /** A user as the replica knows it, which hears of nothing from now on. */
    const addUser = async (data: DataAccess, email: string) => {
      const user = await data.unitOfWork(async ({ em }) => em.create(User, { email, name: 'old' }))
      await expect.poll(() => onReplica(user.id), patience).toBe('old')
      await replica.query('select pg_wal_replay_pause()')
      return user
    }

    test('cached reads show what was committed on the primary, rows, lookups and queries alike', async () => {
      const { orm, data, users } = await open()
      const [before, after] = [`alex-${store}@replica.example`, `alexandra-${store}@replica.example`]
      const user = await addUser(data, before)
      expect((await users.get(user.id))?.name).toBe('old')
      expect(await data.cached(latestScore).get({ userId: user.id })).toBeNull()

      const rest = { vrScore: 80, hrScore: 75, synergyScore: 90, ciLower: 55, ciUpper: 95, parameterVersion: 'v1.2' }
      await data.unitOfWork(async ({ em }) => {
        const managed = await em.findOneOrFail(User, user.id)
        Object.assign(managed, { name: 'new', email: after })
        em.create(AIRScore, { user: managed, occupationCode: '15-1252', airScore: 71.5, ...rest })
      })
      expect((await orm.em.fork().findOneOrFail(User, user.id)).name).toBe('old') // the ORM itself asks the replica
      expect(await onReplica(user.id)).toBe('old')
      expect((await users.get(user.id))?.name).toBe('new')
      expect(await users.byEmail(before)).toBeNull()
      expect((await users.byEmail(after))?.id).toBe(user.id)
      expect((await data.cached(latestScore).get({ userId: user.id }))?.airScore).toBe(71.5)
    })

    test('entries past their ttl are read anew from the primary', async () => {
      const { data, users, names } = await open({ ttl: 50, serveStale: 60_000 })
      const { id } = await addUser(data, `stale-${store}@replica.example`)
      const look = async () => [(await users.get(id))?.name, await names.get({ id })]
      const hits = async () => {
        expect(await look()).toEqual(['old', 'old'])
        return Math.min(users.stats().hits, names.stats().hits)
      }
      await expect.poll(hits, patience).toBeGreaterThan(0)
      await primary.query("update users set name = 'new' where id = $1", [id]) // so that nothing expires but by the ttl
      await expect.poll(look, patience).toEqual(['new', 'new'])
      for (const cache of [users, names]) expect(cache.stats().stale).toBeGreaterThan(0)
      expect(await onReplica(id)).toBe('old')
    })

    test('the probe compares with the primary', async () => {
      const { data, users, names } = await open({ probe: 1 })
      const { id } = await addUser(data, `probed-${store}@replica.example`)
      await data.unitOfWork(async ({ em }) => {
        ;(await em.findOneOrFail(User, id)).name = 'new'
      })
      const probed = async () => {
        expect([(await users.get(id))?.name, await names.get({ id })]).toEqual(['new', 'new'])
        return Math.min(users.stats().probed, names.stats().probed)
      }
      await expect.poll(probed, patience).toBeGreaterThan(0)
      for (const cache of [users, names]) expect(cache.stats().inconsistent).toBe(0)
      expect(await onReplica(id)).toBe('old')
    })
  })
})
