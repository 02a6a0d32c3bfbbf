import { randomUUID } from 'node:crypto'
import { CheckConstraintViolationException, TableNotFoundException } from '@mikro-orm/core'
import { Migration } from '@mikro-orm/migrations'
import { describe, expect, it } from 'vitest'
import { AIRScore, AIRScoreCalculated, latestScore, User, userCache } from '../../src/assessment/index.ts'
import { memoryCache } from '../../src/cache/cache-choice.ts'
import { withQueries } from '../../src/database/query-scope.ts'
import { DomainEvent } from '../../src/outbox/event/domain-event.ts'
import { dialects, openTestDatabase } from '../support/databases.ts'
import { Note, NoteTagged, notes } from '../support/notes-module.ts'
import { openAssessment } from '../support/open-assessment.ts'

const score = {
  occupationCode: '15-1252',
  airScore: 87.5,
  vrScore: 80,
  hrScore: 70,
  synergyScore: 90,
  ciLower: 60,
  ciUpper: 95,
  parameterVersion: 'v1.2',
}

describe.each(dialects)('a data access on %s', (dialect) => {
  const open = (options?: Parameters<typeof openAssessment>[1]) => openAssessment(dialect, options)

  it('has only our own tables without modules', async () => {
    const { data, close } = await open({ modules: [] })
    await data.migrate()
    const tables =
      dialect === 'sqlite'
        ? "select name from sqlite_master where type = 'table' and name not like 'sqlite%' order by name"
        : "select tablename as name from pg_tables where schemaname = 'public' order by tablename"
    const rows = (await data.fork().getConnection().execute(tables)) as { name: string }[]
    const names = rows.map(({ name }) => name).filter((name) => name !== 'mikro_orm_migrations')
    expect(names).toEqual(names.filter((name) => /^(domain_events|outbox_\w+|cache_\w+)$/.test(name)))
    expect(names).toContain('domain_events')
    await close()
  })

  it('runs the tour of a user, its score, the caches and the relay', async () => {
    const { data, close } = await open({ cache: memoryCache({ singleProcess: true }) })
    await data.migrate()
    const user = await data.unitOfWork(async ({ em, record }) => {
      const created = em.create(User, { email: 'alex@innovateai.dev', name: 'Alex' })
      record(NoteTagged, created.id, { welcome: true })
      return created
    })
    expect((await data.cached(userCache).byEmail('alex@innovateai.dev'))?.name).toBe('Alex')
    expect(await data.cached(latestScore).get({ userId: user.id })).toBeNull()
    await data.unitOfWork(async ({ em, cached }) => {
      const managed = await cached(User).getOrFail(user.id)
      expect(em.getUnitOfWork().getById(User, user.id)).toBe(managed)
      managed.name = 'Alexandra'
      em.create(AIRScore, { user: managed, ...score })
    })
    expect((await data.cached(User).get(user.id))?.name).toBe('Alexandra')
    expect((await data.cached(latestScore).get({ userId: user.id }))?.airScore).toBe(87.5)

    const published: unknown[] = []
    await data.outbox.relay({ publisher: (event) => void published.push(event.payload) }).drain()
    expect(published).toEqual([{ welcome: true }])
    expect((await data.fork().findAll(DomainEvent)).map(({ status }) => status)).toEqual(['published'])
    await close()
  })

  it('tells its health and its pool, also while it is busy', async () => {
    const { data, close } = await open()
    await data.migrate()
    expect(await data.health()).toMatchObject({ ok: true, database: { ok: true, latencyMs: expect.any(Number) } })
    expect((await data.stats()).pool).toMatchObject({ inUse: 0, waiting: 0 })
    await data.unitOfWork(async () => {
      const { pool } = await data.stats()
      expect(pool.inUse).toBe(1)
      expect(pool.max).toBe(dialect === 'sqlite' ? 1 : 10)
      expect(await data.health()).toMatchObject({ ok: true })
    })
    expect((await data.stats()).pool.inUse).toBe(0)
    await close()
  })

  it('counts who waits for a connection', async () => {
    const database = await openTestDatabase(dialect)
    const { data, close } = await open({ database: { url: database.url, pool: { max: 1 } } })
    await data.migrate()
    const first = Promise.withResolvers<void>()
    const holder = data.unitOfWork(() => first.promise)
    const second = data.unitOfWork(async () => {})
    await expect.poll(async () => (await data.stats()).pool.waiting).toBe(1)
    first.resolve()
    await Promise.all([holder, second])
    expect((await data.stats()).pool.waiting).toBe(0)
    await close()
    await database.close()
  })

  it('says which migration is missing, what to do, and keeps the connection usable', async () => {
    const { data, close } = await open()
    const unit = data.unitOfWork(async ({ record }) => void record(NoteTagged, 'a', 1))
    await expect(unit).rejects.toMatchObject({ code: 'MIGRATION_MISSING', message: expect.stringContaining('data.migrate()') })
    const message = expect.stringMatching(/Table "outbox_relays" does not exist.*data\.migrate\(\)/)
    await expect(data.outbox.relay({ publisher: () => {} }).start()).rejects.toMatchObject({ code: 'MIGRATION_MISSING', message })
    await data.migrate()
    await data.unitOfWork(async ({ record }) => void record(NoteTagged, 'a', 1))
    await close()
  })

  it('says it of plain reads and of cached ones, and leaves the error of the driver as the cause', async () => {
    const { data, close } = await open({ cache: memoryCache({ singleProcess: true }) })
    const em = data.fork()
    for (const read of [
      () => em.count(User),
      () => em.find(User, {}),
      () => em.getRepository(User).findOne({ email: 'a' }),
      () => em.getRepository(User).page(),
      () => em.nativeDelete(User, {}),
      () => data.cached(userCache).byEmail('a'),
      () => data.cached(User).get('01890000-0000-7000-8000-000000000000'),
      () => data.outbox.stats(),
    ] as (() => Promise<unknown>)[]) {
      await expect(read()).rejects.toMatchObject({
        code: 'MIGRATION_MISSING',
        message: expect.stringContaining('data.migrate()'),
      })
    }
    const error = await em.count(User).catch((reason: Error) => reason)
    expect((error as Error).cause).toBeInstanceOf(TableNotFoundException)
    await data.migrate()
    expect(await em.count(User)).toBe(0)
    await close()
  })

  it('says that a module has no migration for the dialect, or none for a table', async () => {
    const { migrations: _, ...bare } = notes
    const without = await open({ modules: [bare] })
    await without.data.migrate()
    await expect(without.data.fork().count(Note)).rejects.toMatchObject({
      code: 'MIGRATION_MISSING',
      message: expect.stringContaining(`Module "notes" has no migration for ${dialect}`),
    })
    await without.close()
    const other = [
      {
        name: 'other-001',
        class: class extends Migration {
          override up(): void {}
        },
      },
    ]
    const half = await open({ modules: [{ ...notes, migrations: { postgresql: other, sqlite: other } }] })
    await half.data.migrate()
    await expect(half.data.unitOfWork(async ({ em }) => em.create(Note, { id: 'a', title: 'a' }))).rejects.toMatchObject({
      code: 'MIGRATION_MISSING',
      message: expect.stringContaining('module "notes" has no migration for this table'),
    })
    await half.close()
  })

  it('says which entity it does not know', async () => {
    const { data, close } = await open({ cache: memoryCache({ singleProcess: true }) })
    await data.migrate()
    const expected = { code: 'ENTITY_UNKNOWN', message: expect.stringContaining('Note') }
    await expect(data.fork().find(Note, {})).rejects.toMatchObject(expected)
    await expect(data.unitOfWork(async ({ em }) => em.create(Note, { id: 'a', title: 'a' }))).rejects.toMatchObject(expected)
    expect(() => data.cached(Note)).toThrow(expect.objectContaining(expected))
    await close()
  })

  it('tells which migrations are pending', async () => {
    const { data, close } = await open()
    const pending = await data.pendingMigrations()
    expect(pending.length).toBeGreaterThan(1)
    expect(await data.migrate()).toEqual(pending)
    expect(await data.pendingMigrations()).toEqual([])
    await close()
  })

  it('refuses a text that is too long with one class of error', async () => {
    const { data, close } = await open()
    await data.migrate()
    const unit = data.unitOfWork(async ({ em }) => void em.create(User, { email: 'a@innovateai.dev', name: 'x'.repeat(256) }))
    await expect(unit).rejects.toBeInstanceOf(CheckConstraintViolationException)
    await close()
  })

  it('refuses what is no work, no thing to read, and no options', async () => {
    const { data, close } = await open({ cache: memoryCache({ singleProcess: true }) })
    await data.migrate()
    const invalid = (words: string) =>
      expect.objectContaining({ code: 'OPTION_INVALID', message: expect.stringContaining(words) })
    await expect(data.unitOfWork(undefined as never)).rejects.toEqual(invalid('unitOfWork was given undefined; give a function'))
    await expect(data.unitOfWork(async () => {}, data.fork() as never)).rejects.toEqual(invalid('an instance of'))
    for (const isolation of ['serial', 'snapshot']) {
      await expect(data.unitOfWork(async () => {}, { isolation } as never)).rejects.toEqual(
        invalid(`isolation is "${isolation}"`),
      )
    }
    await expect(data.unitOfWork(async ({ afterCommit }) => afterCommit(undefined as never))).rejects.toEqual(
      invalid('afterCommit was given undefined'),
    )
    await expect(data.unitOfWork(async () => {}, { isolation: 'snapshot' as never })).rejects.toEqual(
      invalid('isolation is "snapshot"; give "read uncommitted", "read committed", "repeatable read" or "serializable"'),
    )
    await expect(withQueries(undefined as never)).rejects.toEqual(invalid('withQueries was given undefined'))
    for (const ids of [undefined, 'abc', {}]) {
      await expect(
        data
          .fork()
          .getRepository(User)
          .getMany(ids as never),
      ).rejects.toEqual(invalid('give an array of ids'))
      await expect(data.cached(User).getMany(ids as never)).rejects.toEqual(invalid('give an array of ids'))
    }
    await expect(data.unitOfWork(async () => {}, { retry: { attempt: 3 } } as never)).rejects.toEqual(invalid('`attempts`?'))
    expect(() => data.cached(undefined as never)).toThrow(invalid('cached was given undefined'))
    expect(() => data.cached(User, data.fork() as never)).toThrow(invalid('It takes em'))
    await expect(data.migrate(null as never)).rejects.toEqual(invalid('was given null'))
    await expect(data.migrate({ too: 0 } as never)).rejects.toEqual(invalid('did you mean `to`?'))
    await expect(data.outbox.deadLetters.list({ typ: 'a' } as never)).rejects.toEqual(invalid('did you mean `type`?'))
    await expect(data.outbox.doctor({ timeout: 5 } as never)).rejects.toEqual(invalid('did you mean `timeoutMs`?'))
    await close()
  })

  it('says of which entity an id is none', async () => {
    const { data, close } = await open()
    await data.migrate()
    const message = expect.stringContaining('"42" is not an id of the kind of User.id')
    await expect(data.fork().find(User, { id: '42' })).rejects.toMatchObject({ code: 'ID_INVALID', message })
    await expect(data.fork().find(AIRScore, { user: '42' })).rejects.toMatchObject({ code: 'ID_INVALID', message })
    // In upper case it would be another ordering key, beside that of the same score.
    const payload = { userId: randomUUID(), airScoreId: randomUUID(), airScoreValue: 1, occupation: '15-1252' }
    for (const id of ['42', randomUUID().toUpperCase()]) {
      const unit = data.unitOfWork(async ({ record }) => void record(AIRScoreCalculated, id, payload))
      await expect(unit).rejects.toMatchObject({ code: 'ID_INVALID' })
    }
    await data.unitOfWork(async ({ record }) => void record(AIRScoreCalculated, randomUUID(), payload))
    await close()
  })
})
