import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, inject, it } from 'vitest'
import { assessment, User, userCache } from '../../src/assessment/index.ts'
import { memoryCache } from '../../src/cache/cache-choice.ts'
import { redisCache } from '../../src/cache/redis/redis-cache.ts'
import { createDataAccess } from '../../src/data-access.ts'
import { silentLogger } from '../../src/kernel/logger.ts'
import { redisWake } from '../../src/outbox/redis-wake/redis-wake.ts'
import { dialects, openTestDatabase } from '../support/databases.ts'
import { MemoryLogger } from '../support/memory-logger.ts'
import { Note, NoteTagged, notes } from '../support/notes-module.ts'
import { openProxy, openProxyTo } from '../support/tcp-proxy.ts'

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
