import { MikroORM } from '@mikro-orm/postgresql'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { AIRScore, assessment, latestScore, User, userCache } from '../../src/assessment/index.ts'
import { memoryCache } from '../../src/cache/cache-choice.ts'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { dataAccess } from '../../src/extension.ts'
import { silentLogger } from '../../src/kernel/logger.ts'
import { openReplicatedPostgresql, type ReplicatedPostgresql } from '../support/servers/postgresql-replica.ts'

const patience = { timeout: 20_000, interval: 20 }

describe('cached reads of an ORM whose replica lags behind', () => {
  let servers: ReplicatedPostgresql
  let replica: pg.Client
  let orm: MikroORM
  let data: DataAccess
  beforeAll(async () => {
    servers = await openReplicatedPostgresql()
    orm = await MikroORM.init({
      entities: [AIRScore, User],
      clientUrl: servers.primaryUrl,
      replicas: [{ clientUrl: servers.replicaUrl }],
      preferReadReplicas: true,
      ensureDatabase: false,
      extensions: [dataAccess({ modules: [assessment], logger: silentLogger })],
    })
    data = await createDataAccess({ orm, cache: memoryCache({ singleProcess: true }) })
    await data.migrate()
    replica = new pg.Client({ connectionString: servers.replicaUrl })
    await replica.connect()
  })
  afterAll(async () => {
    await data?.close()
    await orm?.close(true)
    await replica?.end()
    await servers?.close()
  })

  test('show what was committed on the primary, rows, lookups and queries alike', async () => {
    const user = await data.unitOfWork(async ({ em }) => em.create(User, { email: 'alex@replica.example', name: 'old' }))
    const onReplica = async () => (await replica.query('select name from users where id = $1', [user.id])).rows[0]?.name
    await expect.poll(onReplica, patience).toBe('old')
    await replica.query('select pg_wal_replay_pause()')
    expect((await data.cached(userCache).get(user.id))?.name).toBe('old')
    expect(await data.cached(latestScore).get({ userId: user.id })).toBeNull()

    const rest = { vrScore: 80, hrScore: 75, synergyScore: 90, ciLower: 55, ciUpper: 95, parameterVersion: 'v1.2' }
    await data.unitOfWork(async ({ em }) => {
      const managed = await em.findOneOrFail(User, user.id)
      Object.assign(managed, { name: 'new', email: 'alexandra@replica.example' })
      em.create(AIRScore, { user: managed, occupationCode: '15-1252', airScore: 71.5, ...rest })
    })
    expect((await orm.em.fork().findOneOrFail(User, user.id)).name).toBe('old') // the ORM itself asks the replica
    expect(await onReplica()).toBe('old')
    expect((await data.cached(userCache).get(user.id))?.name).toBe('new')
    expect(await data.cached(userCache).byEmail('alex@replica.example')).toBeNull()
    expect((await data.cached(userCache).byEmail('alexandra@replica.example'))?.id).toBe(user.id)
    expect((await data.cached(latestScore).get({ userId: user.id }))?.airScore).toBe(71.5)
    await replica.query('select pg_wal_replay_resume()')
    await expect.poll(onReplica, patience).toBe('new')
  })
})
