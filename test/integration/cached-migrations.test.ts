import { defineEntity, MikroORM, p } from '@mikro-orm/core'
import { Migration } from '@mikro-orm/migrations'
import { PostgreSqlDriver } from '@mikro-orm/postgresql'
import { SqliteDriver } from '@mikro-orm/sqlite'
import { describe, expect, test, vi } from 'vitest'
import { assessment, User } from '../../src/assessment/index.ts'
import type { CacheChoice } from '../../src/cache/cache-choice.ts'
import { cachedQuery, dep } from '../../src/cache/cached-query.ts'
import { cachePolicy } from '../../src/cache/policy.ts'
import { redisCache } from '../../src/cache/redis/redis-cache.ts'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { dataAccess } from '../../src/extension.ts'
import { silentLogger } from '../../src/kernel/logger.ts'
import type { DataModule } from '../../src/module.ts'
import { startCacheProcess } from '../support/cache-process.ts'
import { cacheOf } from '../support/cached-access.ts'
import { dialects, openTestDatabase, type TestDialect } from '../support/databases.ts'
import { closesOpened } from '../support/opened.ts'
import { openTestRedis } from '../support/redis.ts'

const GadgetSchema = defineEntity({
  name: 'Gadget',
  tableName: 'gadgets',
  properties: { id: p.integer().primary(), name: p.string() },
})
class Gadget extends GadgetSchema.class {}
GadgetSchema.setClass(Gadget)

class Create extends Migration {
  override up(): void {
    this.addSql('create table gadgets (id integer primary key, name varchar(50) not null)')
    this.addSql(`insert into gadgets (id, name) values (1, 'a')`)
  }
  override down(): void {
    this.addSql('drop table gadgets')
  }
}

class Raise extends Migration {
  override up(): void {
    this.addSql('update gadgets set name = upper(name)')
  }
  override down(): void {
    this.addSql('update gadgets set name = lower(name)')
  }
}

const names = cachedQuery({
  name: 'gadgetNames',
  dependsOn: () => [dep(Gadget)],
  run: async (em) => (await em.find(Gadget, {})).map(({ name }) => name),
})
const list = [
  { name: 'gadgets-001', class: Create },
  { name: 'gadgets-002', class: Raise },
]
const gadgets: DataModule = {
  name: 'gadgets',
  entities: [Gadget],
  caches: [cachePolicy(Gadget, { ttl: 60_000 }), names],
  migrations: { postgresql: list, sqlite: list },
}

const read = async (data: DataAccess) => [(await data.cached(Gadget).get(1))?.name, ...(await data.cached(names).get({}))]
const rows = (data: DataAccess) => data.fork().getConnection().execute('select 1 from cache_invalidations')

describe.each(dialects.flatMap((dialect) => (['memory', 'redis'] as const).map((store) => [dialect, store] as const)))(
  'a data migration on %s, with a cache in %s',
  (dialect, store) => {
    const opened = closesOpened()

    test.each(['of its own', 'adopted'])('expires what is cached, up and down, in an ORM %s', async (whose) => {
      const database = opened(await openTestDatabase(dialect))
      const cache = cacheOf(store)
      const open = async () => {
        if (whose === 'of its own') {
          return createDataAccess({ modules: [gadgets], database: { url: database.url }, cache, logger: silentLogger })
        }
        const orm = opened(await adoptable(dialect, database.url))
        return createDataAccess({ orm, cache })
      }
      const data = opened(await open())
      await data.migrate({ to: 'gadgets-001' })
      expect(await read(data)).toEqual(['a', 'a'])
      expect(await data.migrate()).toEqual(['gadgets-002'])
      expect(await read(data)).toEqual(['A', 'A'])
      expect(await data.migrate()).toEqual([])
      await read(data)
      expect(data.cached(Gadget).stats().hits).toBeGreaterThan(0)
      await data.migrate({ direction: 'down' })
      expect(await read(data)).toEqual(['a', 'a'])
      // What was acknowledged leaves no row behind.
      await vi.waitFor(async () => expect(await rows(data)).toEqual([]), { timeout: 10_000 })
      // Here its own table goes too.
      await data.migrate({ direction: 'down', to: 0 })
      expect(await data.pendingMigrations()).toContain('data-access-cache-001-invalidations')
    })
  },
)

describe.each(dialects)('a data migration on %s, beside another process that caches', (dialect) => {
  const opened = closesOpened()
  class RaiseUsers extends Migration {
    override up(): void {
      this.addSql('update users set name = upper(name)')
    }
  }
  const raise = [{ name: 'later-001', class: RaiseUsers }]
  const later: DataModule = { name: 'later', migrations: { postgresql: raise, sqlite: raise } }

  const begin = async (deaf: boolean) => {
    const database = opened(await openTestDatabase(dialect))
    const redis = opened(await openTestRedis())
    const choice = redisCache({ url: redis.url, prefix: redis.prefix, timeoutMs: 5000 })
    const [before, after] = [[assessment], [assessment, later]]
    const open = async (modules: readonly DataModule[], cache: CacheChoice) =>
      opened(await createDataAccess({ modules, database: { url: database.url }, cache, logger: silentLogger }))
    const old = await open(before, choice)
    await old.migrate()
    const { id } = await old.unitOfWork(async ({ em }) => em.create(User, { email: 'alex@innovateai.dev', name: 'Alex' }))
    const other = await startCacheProcess({ url: database.url, redisUrl: redis.url, prefix: redis.prefix })
    opened({ close: () => other.kill() })
    const told = () => other.tell({ verb: 'read', id })
    expect(await told()).toEqual({ name: 'Alex' })
    return { told, migrating: await open(after, deaf ? deafened(choice) : choice) }
  }

  test('is seen there once migrate() resolves', async () => {
    const { told, migrating } = await begin(false)
    expect(await migrating.migrate()).toEqual(['later-001'])
    expect(await told()).toEqual({ name: 'ALEX' })
  })

  test('is seen there soon, although the process that migrated never told the cache', async () => {
    const { told, migrating } = await begin(true)
    expect(await migrating.migrate()).toEqual(['later-001'])
    await vi.waitFor(async () => expect(await told()).toEqual({ name: 'ALEX' }), { timeout: 20_000, interval: 100 })
  })
})

/** A store that expires nothing, as in a process that dies right after its commit. */
function deafened(choice: CacheChoice): CacheChoice {
  return {
    ...choice,
    open: (surroundings) => {
      const store = choice.open(surroundings)
      store.invalidate = async () => {
        throw new Error('it is away')
      }
      return store
    },
  }
}

async function adoptable(dialect: TestDialect, url: string): Promise<MikroORM> {
  return MikroORM.init({
    ...(dialect === 'sqlite' ? { dbName: url.replace(/^sqlite:/, '') } : { clientUrl: url }),
    driver: dialect === 'sqlite' ? SqliteDriver : PostgreSqlDriver,
    entities: [Gadget],
    extensions: [dataAccess({ modules: [gadgets], logger: silentLogger })],
  } as never)
}
