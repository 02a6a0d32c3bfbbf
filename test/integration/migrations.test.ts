import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { MikroORM } from '@mikro-orm/core'
import { Migration, Migrator } from '@mikro-orm/migrations'
import { afterEach, describe, expect, it } from 'vitest'
import { User } from '../../src/assessment/user.ts'
import { openOrm } from '../../src/database/connection.ts'
import { whileMigrating } from '../../src/database/migration-lock.ts'
import { migrationMissing } from '../../src/database/migration-missing.ts'
import { type MigrationDefinition, migrate, pendingMigrations } from '../../src/database/migrations.ts'
import { runSql } from '../../src/database/sql.ts'
import { hasErrorCode } from '../../src/errors.ts'
import { monotonicClock } from '../../src/kernel/clock.ts'
import { assessmentMigrations, openAssessmentOrm, type TestOrm } from '../support/assessment-orm.ts'
import { dialects, openTestDatabase, type TestDialect } from '../support/databases.ts'

class CreateFirst extends Migration {
  override up(): void {
    this.addSql('create table first_table (id integer)')
  }
  override down(): void {
    this.addSql('drop table first_table')
  }
}

class CreateSecond extends Migration {
  override up(): void {
    this.addSql('create table second_table (id integer)')
  }
  override down(): void {
    this.addSql('drop table second_table')
  }
}

class Failing extends Migration {
  override up(): void {
    this.addSql('create table half_done (id integer)')
    this.addSql('insert into no_such_table values (1)')
  }
}

class Outside extends Migration {
  override isTransactional(): boolean {
    return false
  }
  override up(): void {
    this.addSql('create table outside (id integer)')
  }
}

// Listed against their names' alphabet: the list decides.
const first: MigrationDefinition = { name: 'z-first', class: CreateFirst }
const second: MigrationDefinition = { name: 'a-second', class: CreateSecond }

const run = promisify(execFile)
const migrateInChild = fileURLToPath(new URL('../support/migrate-in-child.ts', import.meta.url))

describe('migrations in a schema of their own', () => {
  it('find their table again in the schema that the search_path names', async () => {
    const database = await openTestDatabase('postgresql')
    const options = { url: database.url, driverOptions: { options: '-c search_path=apart' } }
    const started: MikroORM[] = []
    try {
      for (const ran of [['z-first'], []]) {
        const orm = await openOrm(options, { entities: [User] })
        started.push(orm)
        await runSql(orm.em.fork(), 'create schema if not exists apart')
        expect(await migrate(orm, [first])).toEqual(ran)
        expect(await pendingMigrations(orm, [first])).toEqual([])
      }
    } finally {
      for (const orm of started) await orm.close()
      await database.close()
    }
  })

  it('run no second time when a schema comes before theirs in the search_path', async () => {
    const database = await openTestDatabase('postgresql')
    const started: MikroORM[] = []
    try {
      for (const [searchPath, ran] of [
        ['public', ['z-first']],
        ['later,public', []],
      ] as const) {
        const options = { url: database.url, driverOptions: { options: `-c search_path=${searchPath}` } }
        const orm = await openOrm(options, { entities: [User] })
        started.push(orm)
        await runSql(orm.em.fork(), 'create schema if not exists later')
        expect(await migrate(orm, [first])).toEqual(ran)
      }
    } finally {
      for (const orm of started) await orm.close()
      await database.close()
    }
  })
})

describe('migrations whose table is in a schema that the configuration names', () => {
  it.each([[{ migrations: { schema: 'apart' } }], [{ migrations: { tableName: 'apart.what_ran' } }], [{ schema: 'apart' }]])(
    'are not pending when they have run: %j',
    async (config) => {
      const database = await openTestDatabase('postgresql')
      const orm = await openOrm({ url: database.url }, { entities: [User], ...config })
      try {
        expect(await pendingMigrations(orm, [first])).toEqual(['z-first'])
        expect(await migrate(orm, [first])).toEqual(['z-first'])
        expect(await pendingMigrations(orm, [first, second])).toEqual(['a-second'])
      } finally {
        await orm.close()
        await database.close()
      }
    },
  )
})

describe.each(dialects)('migrations on %s, while another process migrates', (dialect) => {
  /** Holds what migrating processes queue on, as another process would. */
  const whileHeld = async (work: (orm: MikroORM, release: () => void) => Promise<void>) => {
    const database = await openTestDatabase(dialect)
    const [orm, other] = await Promise.all(
      [1, 2].map(() => openOrm({ url: database.url, statementTimeoutMs: 200 }, { entities: [User] })),
    )
    if (orm === undefined || other === undefined) throw new Error('There are no two')
    const { promise: released, resolve: release } = Promise.withResolvers<void>()
    const { promise: held, resolve: hold } = Promise.withResolvers<void>()
    const holding = whileMigrating(other.em.fork(), async () => {
      hold()
      await released
    })
    try {
      await held
      await work(orm, release)
    } finally {
      release()
      await holding
      await orm.close()
      await other.close()
      await database.close()
    }
  }

  it('wait beyond the limit for statements, and let the rest of the process run', () =>
    whileHeld(async (orm, release) => {
      const begun = performance.now()
      setTimeout(release, 600)
      expect(await migrate(orm, [first])).toEqual(['z-first'])
      expect(performance.now() - begun).toBeLessThan(4000)
      expect(await migrate(orm, [first])).toEqual([])
    }))

  it('give up after a while, and change nothing', () =>
    whileHeld(async (orm) => {
      const waiting = whileMigrating(orm.em.fork(), async () => {}, { longestWaitMs: 300, clock: monotonicClock })
      const message = expect.stringMatching(/Another process has .* this database .* so nothing was changed/)
      await expect(waiting).rejects.toMatchObject({ code: 'MIGRATION_FAILED', message, context: { waitedMs: 300 } })
      if (dialect === 'sqlite') expect(await runSql(orm.em.fork(), 'pragma busy_timeout')).toEqual([{ timeout: 5000 }])
    }))
})

describe.each(dialects)('migrations on %s', (dialect) => {
  const open: TestOrm[] = []
  const start = async () => {
    const opened = await openAssessmentOrm(dialect)
    open.push(opened)
    return opened.orm
  }
  afterEach(async () => {
    for (const opened of open.splice(0)) await opened.close()
  })
  const list = assessmentMigrations[dialect]

  it('run once, and are no longer pending then', async () => {
    const orm = await start()
    expect(await pendingMigrations(orm, list)).toEqual(['assessment-001-users-and-scores'])
    expect(await migrate(orm, list)).toEqual(['assessment-001-users-and-scores'])
    expect(await pendingMigrations(orm, list)).toEqual([])
    expect(await migrate(orm, list)).toEqual([])
  })

  it('asking what is pending changes nothing in an empty database', async () => {
    const orm = await start()
    await pendingMigrations(orm, list)
    expect(await tables(orm, dialect)).toEqual([])
  })

  it('go up, down and up again', async () => {
    const orm = await start()
    await migrate(orm, list)
    expect(await migrate(orm, list, { direction: 'down', to: 0 })).toEqual(['assessment-001-users-and-scores'])
    expect(await tables(orm, dialect)).toEqual(['mikro_orm_migrations'])
    expect(await migrate(orm, list, { direction: 'up' })).toEqual(['assessment-001-users-and-scores'])
    expect(await tables(orm, dialect)).toEqual(['air_scores', 'assessments', 'mikro_orm_migrations', 'users'])
  })

  it('leave no difference between tables and entities', async () => {
    const orm = await start()
    await migrate(orm, list)
    expect(await orm.schema.getUpdateSchemaSQL({ wrap: false, safe: true })).toBe('')
    // The table of migrations itself has no entity; nothing else may be dropped or changed either.
    expect(await orm.schema.getUpdateSchemaSQL({ wrap: false, dropTables: false })).toBe('')
  })

  it('run in the order of the list, up to the one asked for, and back', async () => {
    const orm = await start()
    expect(await migrate(orm, [first, second], { to: 'z-first' })).toEqual(['z-first'])
    expect(await migrate(orm, [first, second])).toEqual(['a-second'])
    expect(await migrate(orm, [first, second], { direction: 'down' })).toEqual(['a-second'])
    expect(await migrate(orm, [first, second])).toEqual(['a-second'])
    expect(await migrate(orm, [first, second], { direction: 'down', to: 'z-first' })).toEqual(['a-second'])
    expect(await migrate(orm, [first, second], { direction: 'down', to: 0 })).toEqual(['z-first'])
  })

  it('a failing one is named, and leaves nothing half done', async () => {
    const orm = await start()
    const attempt = migrate(orm, [first, { name: 'broken', class: Failing }])
    await expect(attempt).rejects.toMatchObject({
      code: 'MIGRATION_FAILED',
      context: { migration: 'broken', direction: 'up' },
      message: expect.stringContaining('"broken"'),
      cause: expect.any(Error),
    })
    expect(await tables(orm, dialect)).toEqual([])
    expect(await migrate(orm, [first])).toEqual(['z-first'])
  })

  it('one that must run outside a transaction is refused', async () => {
    const orm = await start()
    await expect(migrate(orm, [{ name: 'outside', class: Outside }])).rejects.toMatchObject({ code: 'MIGRATION_FAILED' })
    expect(await tables(orm, dialect)).toEqual([])
  })

  it('two of one name, and an unknown name, are refused', async () => {
    const orm = await start()
    await expect(migrate(orm, [first, first])).rejects.toMatchObject({ code: 'OPTION_INVALID' })
    await expect(migrate(orm, [first], { to: 'nope' })).rejects.toMatchObject({ code: 'OPTION_INVALID' })
  })

  it('fit the migrator of MikroORM, which sees what ran here', async () => {
    const opened = await openAssessmentOrm(dialect, {
      extensions: [Migrator],
      migrations: { migrationsList: [...list, first], snapshot: false, silent: true },
    })
    open.push(opened)
    await migrate(opened.orm, list)
    expect((await opened.orm.migrator.getPending()).map(({ name }) => name)).toEqual(['z-first'])
    await opened.orm.migrator.up()
    expect(await pendingMigrations(opened.orm, [...list, first])).toEqual([])
  })

  it('two processes that migrate an empty database at once both succeed', async () => {
    const database = await openTestDatabase(dialect)
    try {
      const outcomes = await Promise.all(
        [1, 2, 3].map(() => run(process.execPath, ['--no-warnings', migrateInChild, database.url])),
      )
      const names = outcomes.flatMap(({ stdout }) => JSON.parse(stdout) as string[])
      expect(names).toEqual(['assessment-001-users-and-scores'])
    } finally {
      await database.close()
    }
  })

  it('a statement on a database without its tables is recognised', async () => {
    const orm = await start()
    const failures = [
      await orm.em
        .fork()
        .find(User, {})
        .catch((error: unknown) => error),
      await runSql(orm.em.fork(), 'select 1 from users').catch((error: unknown) => error),
      await orm.em
        .fork()
        .transactional(async (em) => {
          em.create(User, { email: 'a@b.c', name: 'A' })
        })
        .catch((error: unknown) => error),
    ]
    for (const failure of failures) {
      const error = migrationMissing(failure)
      expect(hasErrorCode(error, 'MIGRATION_MISSING')).toBe(true)
      expect(error?.message).toContain('"users"')
      expect(error?.message).toContain('await data.migrate()')
      expect(error?.cause).toBe(failure)
    }
    expect(migrationMissing(new Error('other'))).toBeUndefined()
    expect(migrationMissing('text')).toBeUndefined()
  })
})

async function tables(orm: TestOrm['orm'], dialect: TestDialect): Promise<string[]> {
  const sql =
    dialect === 'postgresql'
      ? "select tablename as name from pg_tables where schemaname = 'public' order by 1"
      : "select name from sqlite_master where type = 'table' and name not like 'sqlite_%' order by 1"
  return (await runSql<{ name: string }>(orm.em.fork(), sql)).map(({ name }) => name)
}
