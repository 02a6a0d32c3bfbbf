import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CheckConstraintViolationException, type EntityManager, TableNotFoundException } from '@mikro-orm/core'
import { Migration } from '@mikro-orm/migrations'
import { describe, expect, inject, it } from 'vitest'
import { AIRScore, AIRScoreCalculated, assessment, latestScore, User, userCache } from '../../src/assessment/index.ts'
import { type CacheChoice, memoryCache } from '../../src/cache/cache-choice.ts'
import { MemoryStore } from '../../src/cache/memory/memory-store.ts'
import { redisCache } from '../../src/cache/redis/redis-cache.ts'
import { createDataAccess } from '../../src/data-access.ts'
import { withQueries } from '../../src/database/query-scope.ts'
import { silentLogger } from '../../src/kernel/logger.ts'
import { DomainEvent } from '../../src/outbox/event/domain-event.ts'
import { redisWake } from '../../src/outbox/redis-wake/redis-wake.ts'
import { dialects, openTestDatabase } from '../support/databases.ts'
import { MemoryLogger } from '../support/memory-logger.ts'
import { Note, NoteTagged, notes } from '../support/notes-module.ts'
import { openProxy, openProxyTo } from '../support/tcp-proxy.ts'

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

/** Events alone, of a domain whose tables are not ours. */
const tags = { name: 'tags', events: [NoteTagged] }

describe.each(dialects)('a data access on %s', (dialect) => {
  const open = async (options: Parameters<typeof createDataAccess>[0] = {}) => {
    const database = await openTestDatabase(dialect)
    const data = await createDataAccess({ modules: [assessment, tags], database: { url: database.url }, ...options })
    const close = async () => {
      await data.close()
      await database.close()
    }
    return { data, close }
  }

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

  it('refuses to close inside a unit of work, which it would wait for, and goes on', async () => {
    const { data, close } = await open()
    await data.migrate()
    const asked = data.unitOfWork(() => data.close())
    await expect(asked).rejects.toMatchObject({ code: 'TRANSACTION_FORK', message: expect.stringContaining('after the unit') })
    expect(await data.unitOfWork(async () => 'open')).toBe('open')
    await close()
  })

  it('waits for a unit no longer than it is told', async () => {
    const { data, close } = await open()
    await data.migrate()
    await expect(data.close({ deadline: -1 })).rejects.toMatchObject({ code: 'OPTION_INVALID' })
    const { promise: hanging, resolve } = Promise.withResolvers<void>()
    const unit = data.unitOfWork(() => hanging).catch((error: unknown) => error)
    const began = performance.now()
    await data.close({ deadline: 50 })
    // Ten seconds without the deadline; half of them for a slow machine, and one for the pool.
    expect(performance.now() - began).toBeLessThan(5000)
    resolve()
    expect(await unit).toMatchObject({ code: 'CLOSED' })
    await close()
  })

  it('closes the rest behind what fails to close, and then says so', async () => {
    const failing: CacheChoice = {
      ...memoryCache({ singleProcess: true }),
      open: () => {
        const store = new MemoryStore({ maxEntries: 10 })
        store.close = () => Promise.reject(new Error('the store cannot be closed'))
        return store
      },
    }
    const { data, close } = await open({ cache: failing })
    await data.migrate()
    await expect(data.close()).rejects.toThrow('the store cannot be closed')
    expect(await data.orm.isConnected()).toBe(false)
    await close().catch(() => {})
  })

  it('closes twice, and before anything was used; then nothing is well', async () => {
    const { data, close } = await open({ cache: memoryCache({ singleProcess: true }) })
    await Promise.all([data.close(), data.close()])
    expect(await data.health()).toMatchObject({ ok: false, database: { ok: false }, cache: { ok: false } })
    await close()
  })

  it('does not hang behind a transaction begun by hand, which may be the caller its own', async () => {
    const database = await openTestDatabase(dialect)
    const { data, close } = await open({
      modules: [notes],
      database: { url: database.url, pool: { max: 1, acquireTimeoutMs: 300 } },
    })
    await data.migrate()
    const em = data.fork()
    await em.begin()
    const code = dialect === 'sqlite' ? 'TRANSACTION_FORK' : 'POOL_EXHAUSTED'
    const late = (id: string) => data.unitOfWork(async (unit) => void unit.em.create(Note, { id, title: id }))
    await expect(late('a')).rejects.toMatchObject({ code })
    await expect(data.fork().count(Note)).rejects.toMatchObject({ code })
    await expect(data.fork().insert(Note, { id: 'b', title: 'b', count: 0 } as never)).rejects.toMatchObject({ code })
    await data.unitOfWork(async (unit) => void unit.em.create(Note, { id: 'c', title: 'c' }), { em })
    await em.commit()
    await late('d')
    // What was refused is not done later.
    expect((await data.fork().find(Note, {}, { orderBy: { id: 'asc' } })).map(({ id }) => id)).toEqual(['c', 'd'])
    expect((await data.stats()).pool).toMatchObject({ inUse: 0, waiting: 0 })
    await close()
    await database.close()
  })

  it('waits for a transaction begun by hand that ends in time', async () => {
    const { data, close } = await open({ modules: [notes] })
    await data.migrate()
    const em = data.fork()
    await em.begin()
    const waiting = Promise.all([data.unitOfWork(async (unit) => unit.em.count(Note)), data.fork().count(Note)])
    em.create(Note, { id: 'a', title: 'a' })
    await em.commit()
    const [inUnit] = await waiting
    // On SQLite it came second; on PostgreSQL both stood side by side.
    if (dialect === 'sqlite') expect(inUnit).toBe(1)
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

describe('opening a data access', () => {
  it.each([
    'mysql://root:secret@localhost/db',
    'http://localhost',
    'users.db',
    '',
    'postgres://',
    'sqlite:',
    'sqlite:a.db?mode=ro',
    'postgres://me:a/secret@host:5432/name',
    'postgres://me:a#secret@host:5432/name',
    'postgres://me:a%secret@host:5432/name',
    'sqlite:a%.db',
  ])('refuses the URL "%s" and says what it takes, without a password', async (url) => {
    const error = await createDataAccess({ database: { url } }).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'DATABASE_URL_INVALID', message: expect.stringMatching(/postgres:\/\/|percent-encode/) })
    expect((error as Error).message).not.toContain('secret')
  })

  it('says that nothing listens at an address', async () => {
    const error = await createDataAccess({ database: { url: 'postgres://me:secret@127.0.0.1:1/db' } }).catch(
      (reason: unknown) => reason,
    )
    expect(error).toMatchObject({ code: 'DATABASE_UNREACHABLE', message: expect.stringContaining('nothing listens there') })
    expect((error as Error).message).toContain('postgres://me:***@127.0.0.1:1/db')
    expect((error as Error).message).not.toContain('secret')
  })

  it('gives up on a server that accepts and never answers', async () => {
    const server = createServer(() => {})
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as { port: number }
    const opening = createDataAccess({ database: { url: `postgres://me@127.0.0.1:${port}/db`, pool: { acquireTimeoutMs: 300 } } })
    await expect(opening).rejects.toMatchObject({ code: 'DATABASE_UNREACHABLE' })
    server.close()
  })

  it('says that a database does not exist, and does not create it', async () => {
    const url = new URL(inject('databaseUrl'))
    url.pathname = '/there_is_no_such_database'
    for (let attempt = 0; attempt < 2; attempt++) {
      await expect(createDataAccess({ database: { url: url.href } })).rejects.toMatchObject({
        code: 'DATABASE_UNREACHABLE',
        message: expect.stringContaining('does not exist'),
      })
    }
  })

  it('says that the pool is exhausted, and what to do', async () => {
    const database = await openTestDatabase('postgresql')
    const data = await createDataAccess({
      modules: [notes],
      database: { url: database.url, pool: { max: 1, acquireTimeoutMs: 200 } },
    })
    await data.migrate()
    // A second fork inside a unit waits for the connection that the unit holds.
    const query = data.unitOfWork(() => data.fork().count(Note))
    const context = { size: 1, max: 1, inUse: 1, idle: 0, waiting: 0 }
    await expect(query).rejects.toMatchObject({
      code: 'POOL_EXHAUSTED',
      message: expect.stringContaining('`em` of a unit'),
      context,
    })
    const unit = data.unitOfWork(() => data.unitOfWork(async () => {}, { em: data.fork() }))
    await expect(unit).rejects.toMatchObject({ code: 'POOL_EXHAUSTED' })
    expect(await data.fork().count(Note)).toBe(0)
    await data.close()
    await database.close()
  })

  describe('when PostgreSQL goes away after the opening', () => {
    const openBehindProxy = async () => {
      const database = await openTestDatabase('postgresql')
      const proxy = await openProxyTo(database.url)
      const url = new URL(proxy.url)
      url.password = 'secret'
      const data = await createDataAccess({ modules: [notes], database: { url: url.href } })
      await data.migrate()
      const close = async () => {
        await data.close()
        await proxy.close()
        await database.close()
      }
      return { data, proxy, close }
    }

    it('reads, units of work and health say so, without the password, and all works once it is back', async () => {
      const { data, proxy, close } = await openBehindProxy()
      await proxy.refuse()
      // Until the pool has noticed, a statement may meet a connection that is gone.
      await expect
        .poll(() => data.health())
        .toMatchObject({ database: { ok: false, error: expect.stringContaining('nothing listens there') } })
      for (const use of [
        () => data.fork().count(Note),
        () => data.fork().getConnection().execute('select 1'),
        () => data.unitOfWork(({ em }) => em.count(Note)),
        () => data.outbox.stats(),
      ]) {
        const error = await use().catch((reason: unknown) => reason)
        expect(error).toMatchObject({ code: 'DATABASE_UNREACHABLE', message: expect.stringContaining('nothing listens there') })
        expect((error as Error).message).toContain(`:***@127.0.0.1:${proxy.port}/`)
        expect((error as Error).message).not.toContain('secret')
      }
      await proxy.accept()
      expect(await data.fork().count(Note)).toBe(0)
      await close()
    })

    it('a unit whose connection was ended before its next statement, or before its commit, says so', async () => {
      const { data, close } = await openBehindProxy()
      const end = async (em: EntityManager) => {
        const ask = (fork: EntityManager, sql: string) =>
          fork.getConnection().execute(sql, [], 'all', fork.getTransactionContext())
        const [{ pid }] = await ask(em, 'select pg_backend_pid() as pid')
        await ask(data.fork(), `select pg_terminate_backend(${pid})`)
        await expect
          .poll(() => ask(data.fork(), `select count(*)::int as n from pg_stat_activity where pid = ${pid}`))
          .toEqual([{ n: 0 }])
        // The socket hears of its end a moment later.
        await new Promise((resolve) => setTimeout(resolve, 200))
      }
      const lost = { code: 'DATABASE_UNREACHABLE', message: expect.stringContaining('rolled back') }
      const reading = data.unitOfWork(async ({ em }) => {
        await end(em)
        await em.count(Note)
      })
      await expect(reading).rejects.toMatchObject(lost)
      const committing = data.unitOfWork(async ({ em, record }) => {
        em.create(Note, { id: 'lost', title: 'lost' })
        await end(em)
        record(NoteTagged, 'lost', { tag: 'lost' })
      })
      await expect(committing).rejects.toMatchObject(lost)
      expect(await data.fork().count(Note)).toBe(0)
      await close()
    })

    it('a statement whose connection is lost says what may have become of it', async () => {
      const { data, proxy, close } = await openBehindProxy()
      const asleep = data.unitOfWork(({ em }) =>
        em.getConnection().execute('select pg_sleep(60)', [], 'all', em.getTransactionContext()),
      )
      const lost = expect(asleep).rejects.toMatchObject({
        code: 'DATABASE_UNREACHABLE',
        message: expect.stringMatching(/was lost before it answered.*rolled back/),
      })
      const isAsleep = `select count(*)::int as n from pg_stat_activity where query like '%pg_sleep(60)%' and pid <> pg_backend_pid() and datname = current_database()`
      await expect.poll(() => data.fork().getConnection().execute(isAsleep)).toEqual([{ n: 1 }])
      proxy.cut()
      await lost
      await expect.poll(() => data.health()).toMatchObject({ database: { ok: true } })
      expect(await data.fork().count(Note)).toBe(0)
      await close()
    })
  })

  it('leaves nothing open behind a cache that it refused', async () => {
    const database = await openTestDatabase('postgresql')
    const proxy = await openProxyTo(inject('redisUrl'))
    const twice = { name: 'twice', caches: [userCache] }
    const opening = createDataAccess({
      modules: [assessment, twice],
      database: { url: database.url },
      cache: redisCache({ url: proxy.url, tier: {} }),
      wake: redisWake({ url: proxy.url }),
    })
    await expect(opening).rejects.toMatchObject({
      code: 'OPTION_INVALID',
      message: expect.stringContaining('two cache policies'),
    })
    // A client that was just begun may still be on its way.
    await new Promise((resolve) => setTimeout(resolve, 300))
    await expect.poll(() => proxy.open).toBe(0)
    await proxy.close()
    await database.close()
  })

  it('leaves nothing open behind a wake that cannot be opened', async () => {
    const database = await openTestDatabase('postgresql')
    const proxy = await openProxyTo(inject('redisUrl'))
    const opening = createDataAccess({
      modules: [assessment],
      database: { url: database.url },
      cache: redisCache({ url: proxy.url, tier: {} }),
      wake: {
        open: () => {
          throw new Error('no way to wake')
        },
      },
    })
    await expect(opening).rejects.toThrow('no way to wake')
    await new Promise((resolve) => setTimeout(resolve, 300))
    await expect.poll(() => proxy.open).toBe(0)
    await proxy.close()
    await database.close()
  })

  it('says that there is no such user', async () => {
    const url = new URL(inject('databaseUrl'))
    url.username = 'there_is_no_such_user'
    await expect(createDataAccess({ database: { url: url.href } })).rejects.toMatchObject({
      code: 'DATABASE_UNREACHABLE',
      message: expect.stringContaining('there is no such user'),
    })
  })

  it('says what is wrong with the place of a SQLite file', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'data-access-'))
    writeFileSync(
      join(folder, 'text.db'),
      'this is no database, and long enough that nobody takes it for an empty one'.repeat(20),
    )
    for (const [path, words] of [
      ['/nowhere/at/all.db', 'the folder /nowhere/at does not exist'],
      [folder, 'it is a folder'],
      [join(folder, 'text.db'), 'is no SQLite database'],
    ]) {
      await expect(createDataAccess({ database: { url: `sqlite:${path}` } })).rejects.toMatchObject({
        code: 'DATABASE_UNREACHABLE',
        message: expect.stringContaining(words as string),
      })
    }
    rmSync(folder, { recursive: true })
  })

  it.each([{ max: 0 }, { max: 1.5 }, { min: -1 }, { min: 11 }, { idleTimeoutMs: Number.NaN }])(
    'refuses the pool %j',
    async (pool) => {
      const opening = createDataAccess({ database: { url: inject('databaseUrl'), pool } })
      await expect(opening).rejects.toMatchObject({ code: 'OPTION_INVALID', message: expect.stringContaining('database.pool') })
    },
  )

  it('keeps a SQLite file between two lives', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'data-access-'))
    const database = { url: `sqlite:${join(folder, 'a b.db')}` }
    const first = await createDataAccess({ modules: [notes], database })
    await first.migrate()
    await first.unitOfWork(async ({ em }) => void em.create(Note, { id: 'a', title: 'kept' }))
    await first.close()
    const second = await createDataAccess({ modules: [notes], database })
    expect(await second.migrate()).toEqual([])
    expect((await second.fork().findOneOrFail(Note, 'a')).title).toBe('kept')
    await second.close()
    rmSync(folder, { recursive: true })
  })

  it.each(dialects)(
    'asks for a choice of cache where others can open the database, and works without one: %s',
    async (dialect) => {
      const database = await openTestDatabase(dialect)
      const options = { modules: [assessment], database: { url: database.url } }
      await expect(createDataAccess({ ...options, cache: memoryCache() })).rejects.toMatchObject({
        code: 'CACHE_CHOICE_REQUIRED',
      })
      const data = await createDataAccess(options)
      expect(() => data.cached(User)).toThrow(expect.objectContaining({ code: 'CACHE_CHOICE_REQUIRED' }))
      expect((await data.health()).cache).toBeUndefined()
      await data.close()
      const uncached = await createDataAccess({ ...options, cache: false })
      await uncached.migrate()
      expect(await uncached.cached(userCache).byEmail('nobody@innovateai.dev')).toBeNull()
      await uncached.close()
      await database.close()
    },
  )

  it('waits for the first connection to a slow Redis before it calls it away', async () => {
    const proxy = await openProxy(Number(new URL(inject('redisUrl')).port))
    const url = `redis://127.0.0.1:${proxy.port}`
    const slowly = async () => {
      proxy.stall()
      const data = await createDataAccess({ cache: redisCache({ url }), logger: silentLogger })
      const health = data.health()
      // Twice as long as a read would wait.
      setTimeout(() => proxy.resume(), 100)
      const { cache } = await health
      await data.close()
      return cache?.ok
    }
    // A machine that stands still for a second may miss it, but not each time.
    await expect.poll(slowly, { timeout: 20_000 }).toBe(true)
    await proxy.close()
  })

  it('refuses two modules that define one event differently', async () => {
    const other = { name: 'other', entities: [], events: [{ ...NoteTagged }] }
    await expect(createDataAccess({ modules: [notes, other] })).rejects.toMatchObject({ code: 'EVENT_DEFINITION_INVALID' })
  })

  it('keeps two data accesses in memory apart, each by its own transactions', async () => {
    const logger = new MemoryLogger()
    const [one, two] = await Promise.all([
      createDataAccess({ modules: [notes], logger }),
      createDataAccess({ modules: [notes], logger }),
    ])
    await Promise.all([one.migrate(), two.migrate()])
    await one.unitOfWork(async ({ em }) => {
      em.create(Note, { id: 'a', title: 'one' })
      await two.unitOfWork(async (unit) => void unit.em.create(Note, { id: 'a', title: 'two' }))
      await em.flush()
      expect((await two.fork().findOneOrFail(Note, 'a')).title).toBe('two')
    })
    expect((await one.fork().findOneOrFail(Note, 'a')).title).toBe('one')
    await Promise.all([one.close(), two.close()])
    expect([...logger.warnings, ...logger.errors]).toEqual([])
  })
})
