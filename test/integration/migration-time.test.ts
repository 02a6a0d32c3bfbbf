import { Migration } from '@mikro-orm/migrations'
import { MikroORM } from '@mikro-orm/postgresql'
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { createDataAccess } from '../../src/data-access.ts'
import { hasErrorCode } from '../../src/errors.ts'
import { dataAccess } from '../../src/extension.ts'
import type { DataModule } from '../../src/module.ts'
import { openTestDatabase } from '../support/databases.ts'
import { notes } from '../support/notes-module.ts'
import { closesOpened } from '../support/opened.ts'
import { openProxyTo } from '../support/tcp-proxy.ts'

class Slow extends Migration {
  override up(): void {
    this.addSql('select pg_sleep(1.2)')
  }
}
class Bounded extends Migration {
  override up(): void {
    this.addSql(`set local statement_timeout = '100ms'`)
    this.addSql('select pg_sleep(20)')
  }
}
/** Whose commit takes long. */
class SlowCommit extends Migration {
  override up(): void {
    this.addSql(
      'create function linger() returns trigger language plpgsql as $$ begin perform pg_sleep(1.2); return null; end $$',
    )
    this.addSql('create table lingering (id int)')
    this.addSql(
      'create constraint trigger lingers after insert on lingering deferrable initially deferred for each row execute function linger()',
    )
    this.addSql('insert into lingering values (1)')
  }
}
class Widen extends Migration {
  override up(): void {
    this.addSql('alter table notes add extra int')
  }
}

const moduleOf = (name: string, migration: typeof Slow): DataModule => ({
  name,
  migrations: { postgresql: [{ name, class: migration }] },
})

describe('the time of a migration on PostgreSQL', () => {
  const opened = closesOpened()
  const open = async (module: DataModule, database: object = {}) => {
    const { url } = opened(await openTestDatabase('postgresql'))
    return opened(await createDataAccess({ modules: [notes, module], database: { url, ...database }, cache: false }))
  }

  const limited = [
    ['a statementTimeoutMs', { statementTimeoutMs: 400 }],
    ['a query_timeout', { driverOptions: { query_timeout: 400 } }],
    ['both', { statementTimeoutMs: 400, driverOptions: { query_timeout: 500 } }],
  ] as const
  test.each(limited.flatMap(([words, options]) => [Slow, SlowCommit].map((what) => [what.name, words, what, options] as const)))(
    'of the kind %s is not bounded by %s, which bounds what follows',
    async (_name, _words, migration, options) => {
      const data = await open(moduleOf('slow', migration), options)
      expect(await data.migrate()).toContain('slow')
      await expect(data.fork().getConnection().execute('select pg_sleep(20)')).rejects.toThrow()
      expect((await data.health({ migrations: true })).ok).toBe(true)
    },
  )

  test('is not bounded in an adopted ORM either', async () => {
    const { url } = opened(await openTestDatabase('postgresql'))
    const module = moduleOf('slow', Slow)
    const orm = await MikroORM.init({
      clientUrl: url,
      extensions: [dataAccess({ modules: [notes, module] })],
      entities: [...(notes.entities ?? [])] as never[],
      driverOptions: { statement_timeout: 400, query_timeout: 500 },
    })
    opened(orm)
    const data = opened(await createDataAccess({ orm, cache: false }))
    expect(await data.migrate()).toContain('slow')
  })

  test('is bounded where the migration says so', async () => {
    const error = await (await open(moduleOf('bounded', Bounded))).migrate().catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'MIGRATION_FAILED', context: { migration: 'bounded' } })
    expect(hasErrorCode(error, 'STATEMENT_CANCELED')).toBe(true)
  })

  test('that it waits for a lock is bounded by lockTimeoutMs, and others go on then', async () => {
    const data = await open(moduleOf('widen', Widen))
    await data.migrate({ to: 'notes-001' })
    await data.unitOfWork(async ({ em: reader }) => {
      await reader.getConnection().execute('select count(*) from notes', [], 'all', reader.getTransactionContext())
      const error = await data.migrate({ lockTimeoutMs: 100 }).catch((reason: unknown) => reason)
      expect(error).toMatchObject({ code: 'MIGRATION_FAILED', message: expect.stringContaining('migrate({ lockTimeoutMs })') })
      expect(hasErrorCode(error, 'LOCK_NOT_AVAILABLE')).toBe(true)
      // By default it gives up too, sooner than this test does.
      expect(hasErrorCode(await data.migrate().catch((reason: unknown) => reason), 'LOCK_NOT_AVAILABLE')).toBe(true)
    })
    expect(await data.migrate({ lockTimeoutMs: 0 })).toEqual(['widen'])
  })

  test('while it only waits for another process, its commit is bounded as ever', async () => {
    const { url } = opened(await openTestDatabase('postgresql'))
    const proxy = opened(await openProxyTo(url))
    const other = new pg.Client({ connectionString: url })
    await other.connect()
    opened({ close: () => other.end() })
    const database = { url: proxy.url, statementTimeoutMs: 200 }
    const data = opened(await createDataAccess({ modules: [notes], database, cache: false }))
    await other.query('select pg_advisory_lock(4026100817)')
    const connection = data.orm.driver.getConnection('write')
    const { execute } = connection
    connection.execute = async (...args: Parameters<typeof execute>) => {
      const rows = await execute.apply(connection, args)
      if (String(args[0]).includes('pg_try_advisory')) proxy.stall()
      return rows as never
    }
    await expect(data.migrate()).rejects.toMatchObject({ code: 'DATABASE_UNREACHABLE' })
  })

  test('takes no lockTimeoutMs that is none', async () => {
    const data = await open(moduleOf('widen', Widen))
    await expect(data.migrate({ lockTimeoutMs: -1 })).rejects.toMatchObject({ code: 'OPTION_INVALID' })
  })
})
