import { MikroORM } from '@mikro-orm/core'
import { describe, expect, test } from 'vitest'
import { AIRScore, assessment, User } from '../../src/assessment/index.ts'
import { memoryCache } from '../../src/cache/cache-choice.ts'
import { cachedQuery, dep } from '../../src/cache/cached-query.ts'
import { cachePolicy } from '../../src/cache/policy.ts'
import { redisCache } from '../../src/cache/redis/redis-cache.ts'
import { createDataAccess } from '../../src/data-access.ts'
import { withQueries } from '../../src/database/query-scope.ts'
import { dataAccess } from '../../src/extension.ts'
import { redisWake } from '../../src/outbox/redis-wake/redis-wake.ts'
import { toRelaySettings } from '../../src/outbox/relay/relay-options.ts'
import { redisPubSub } from '../../src/publishers/redis-pubsub/redis-pubsub.ts'
import { redisStreams } from '../../src/publishers/redis-streams/redis-streams.ts'

// As a program in JavaScript would call them.
type Door = (options: unknown) => unknown

const url = 'redis://localhost'
const publisher = async () => {}
const module = { name: 'empty', entities: [] }
const relay: Door = (options) => toRelaySettings({ publisher, ...(options as object) })
const open: Door = (options) => createDataAccess(options as never)

/** A property that nobody has is no mistake to the compiler when it comes from elsewhere. */
const misspelt = cachedQuery({
  name: 'misspelt',
  dependsOn: () => [dep(AIRScore, { ocupationCode: '15-1252' } as object)],
  run: async () => null,
})

async function refusal(door: Door, options: unknown): Promise<unknown> {
  try {
    const opened = await door(options)
    await (opened as { close?: () => Promise<void> } | undefined)?.close?.()
    return 'nothing was refused'
  } catch (error) {
    return error
  }
}

describe('an option that nobody knows is refused by every door', () => {
  const cases: readonly (readonly [string, Door, unknown, string])[] = [
    ['createDataAccess', open, { databse: { url: ':memory:' } }, 'did you mean `database`?'],
    ['createDataAccess', open, { url: ':memory:' }, 'belongs into database: { url }'],
    ['createDataAccess', open, { database: { ur: ':memory:' } }, '`database.ur`; did you mean `url`?'],
    ['createDataAccess', open, { database: { pool: { maxx: 1 } } }, '`database.pool.maxx`; did you mean `max`?'],
    ['createDataAccess', open, { orm: undefined, modules: [] }, 'belongs into dataAccess({ modules })'],
    ['createDataAccess', open, { modules: [{ ...module, migration: {} }] }, 'modules[0] has no option `migration`'],
    ['dataAccess', dataAccess as Door, { modul: [] }, 'did you mean `modules`?'],
    ['dataAccess', dataAccess as Door, { cache: false }, 'belongs into createDataAccess({ orm, cache })'],
    ['memoryCache', memoryCache as Door, { singleProces: true }, 'did you mean `singleProcess`?'],
    ['redisCache', redisCache as Door, { url, timeout: 1 }, 'did you mean `timeoutMs`?'],
    ['redisCache', redisCache as Door, { host: 'localhost' }, 'belongs into url'],
    ['redisWake', redisWake as Door, { url, timeoutMs: 1 }, 'has no option `timeoutMs`'],
    ['redisPubSub', redisPubSub as Door, { url, chanel: 'a' }, 'did you mean `channel`?'],
    ['redisStreams', redisStreams as Door, { url, dedupe: { window: 1 } }, '`dedupe.window`'],
    ['relay', relay, { batchsize: 1 }, 'did you mean `batchSize`?'],
    ['relay', relay, { attempts: 3 }, 'belongs into retry: { attempts }'],
    ['relay', relay, { retry: { atempts: 3 } }, '`retry.atempts`; did you mean `attempts`?'],
    ['relay', relay, { retention: { keep: 3 } }, 'did you mean `keepMs`?'],
    [
      'withQueries',
      (options) => withQueries(async () => {}, options as object),
      { nPlusone: 'warn' },
      'did you mean `nPlusOne`?',
    ],
    ['cachePolicy', (options) => cachePolicy(User, options as object), { tll: 1 }, 'did you mean `ttl`?'],
    ['cachedQuery', cachedQuery as Door, { nam: 'a' }, 'did you mean `name`?'],
  ]
  test.each(cases)('%s', async (name, door, options, words) => {
    const message = expect.stringContaining(words)
    expect(await refusal(door, options)).toMatchObject({ name: 'DataAccessError', code: 'OPTION_INVALID', message })
    expect(((await refusal(door, options)) as Error).message).toMatch(new RegExp(`^(${name}|modules)`))
  })
})

describe('an option of another kind is refused by every door', () => {
  const cases: readonly (readonly [string, Door, unknown, string])[] = [
    ['createDataAccess', open, 'postgres://me:secret@host/db', 'was given a string'],
    ['createDataAccess', open, { modules: assessment }, 'modules is an object; give an array'],
    ['createDataAccess', open, { modules: [undefined] }, 'modules[0] was given undefined'],
    ['createDataAccess', open, { modules: [assessment, assessment] }, '"assessment", stands there twice'],
    ['createDataAccess', open, { modules: [module, { ...module }] }, 'has the name "empty", as modules[0] has'],
    ['createDataAccess', open, { modules: [{ entities: [] }] }, 'has no name'],
    ['createDataAccess', open, { modules: [{ ...module, entities: [User, undefined] }] }, 'modules[0].entities[1] is undefined'],
    ['createDataAccess', open, { modules: [{ ...module, caches: [undefined] }] }, 'modules[0].caches[0] is undefined'],
    ['createDataAccess', open, { modules: [{ ...module, caches: [User] }] }, 'give what cachePolicy(User)'],
    [
      'createDataAccess',
      open,
      { modules: [{ ...module, migrations: { postgresql: [], sqlite: [{ name: 'm' }] } }] },
      'modules[0].migrations.sqlite[0] is an object; give an object of name and class',
    ],
    [
      'createDataAccess',
      open,
      { modules: [{ ...assessment, caches: [misspelt] }] },
      'depends on `ocupationCode`, which AIRScore does not have; did you mean `occupationCode`?',
    ],
    ['createDataAccess', open, { logger: console.log }, 'logger is a function; give a logger'],
    ['createDataAccess', open, { database: 'postgres://me:secret@host/db' }, 'database is a string; give an object, { url }'],
    ['createDataAccess', open, { database: { pool: { max: 'x' } } }, 'database.pool.max is "x"'],
    ['createDataAccess', open, { database: { pool: 5 } }, 'database.pool is 5'],
    ['createDataAccess', open, { database: { statementTimeoutMs: '5' } }, 'database.statementTimeoutMs is "5"'],
    ['createDataAccess', open, { cache: redisCache }, 'cache is a function; give redisCache({ url }), memoryCache() or false'],
    ['createDataAccess', open, { cache: true }, 'cache is true'],
    ['createDataAccess', open, { wake: {} }, 'give redisWake({ url })'],
    ['createDataAccess', open, { orm: MikroORM }, 'orm is a function; give the MikroORM that'],
    ['createDataAccess', open, { orm: undefined }, 'orm is undefined'],
    ['redisCache', redisCache as Door, { url, timeoutMs: '50' }, 'timeoutMs is "50"'],
    ['redisCache', redisCache as Door, undefined, 'was given undefined'],
    ['redisCache', redisCache as Door, { client: {} }, 'give an ioredis client'],
    ['redisCache', redisCache as Door, {}, 'needs url or client'],
    ['redisStreams', redisStreams as Door, { url, maxLength: 0 }, 'maxLength is 0'],
    ['relay', relay, { publishTimeout: '1000' }, 'publishTimeout is "1000"'],
    ['relay', relay, { retry: { attempts: 0 } }, 'retry.attempts is 0; give a whole number from 1 to 1000'],
    ['relay', relay, { onDeadLetter: 'block' }, 'onDeadLetter is "block"; give "skip" or "block-key"'],
    ['cachePolicy', (entity) => cachePolicy(entity as typeof User), undefined, 'was given no entity; give its class or schema'],
    ['cachedQuery', cachedQuery as Door, { name: 'a', dependsOn: () => [] }, 'cachedQuery "a" needs name, dependsOn and run'],
  ]
  test.each(cases)('%s %#', async (_, door, options, words) => {
    const error = await refusal(door, options)
    expect(error).toMatchObject({ name: 'DataAccessError', code: 'OPTION_INVALID', message: expect.stringContaining(words) })
    expect((error as Error).message).not.toContain('secret')
  })
})

describe('an option that is undefined is as if it were left out', () => {
  test('in what a relay is made of', () => {
    const given = { retry: { attempts: undefined, baseMs: undefined, maxMs: undefined }, pollInterval: { min: undefined } }
    const left = { ...given, lease: undefined, name: undefined, onDeadLetter: undefined, retention: undefined }
    expect(toRelaySettings({ publisher, ...left })).toEqual({ ...toRelaySettings({ publisher }), publisher: expect.anything() })
  })

  test('in a policy', () => {
    const given = { ttl: undefined, negativeTtl: undefined, jitter: undefined, serveStale: undefined, probe: undefined }
    expect(cachePolicy(User, { ...given, uniques: undefined, frozen: undefined })).toEqual(cachePolicy(User))
  })

  test('in what a data access is made of', async () => {
    const none = { statementTimeoutMs: undefined, driverOptions: undefined, pool: undefined }
    const modules = [{ ...module, migrations: undefined, events: undefined, caches: undefined }]
    const left = { cache: undefined, wake: undefined, logger: undefined }
    const data = await createDataAccess({ database: { url: ':memory:', ...none }, modules, ...left })
    try {
      await data.migrate({ direction: undefined, to: undefined })
      expect((await data.outbox.doctor({ deadTuples: undefined, timeoutMs: undefined })).every(({ ok }) => ok)).toBe(true)
      const unit = { em: undefined, isolation: undefined, retry: { attempts: undefined } }
      expect(await data.unitOfWork(async () => 'done', unit)).toBe('done')
    } finally {
      await data.close()
    }
  })
})

describe('a URL that comes from an environment variable that is not set is refused', () => {
  const unset = process.env.THERE_IS_NO_SUCH_VARIABLE

  test.each([
    [{ database: { url: unset } }, 'not set'],
    [{ database: undefined }, 'database is undefined'],
    [{ database: { url: '' } }, 'set to nothing'],
    [{ database: { url: 42 } }, 'of type number'],
    [{ database: { url: null } }, 'of type object'],
    [{ database: { url: new URL('postgres://host/db') } }, 'of type object'],
  ])('by createDataAccess: %j', async (options, words) => {
    expect(await refusal(open, options)).toMatchObject({ code: 'DATABASE_URL_INVALID', message: expect.stringContaining(words) })
  })

  test.each([redisCache, redisPubSub, redisStreams, redisWake])('by %o', async (door) => {
    for (const [given, words] of [
      [unset, 'not set'],
      ['', 'set to nothing'],
      [42, 'of type number'],
    ] as const) {
      const expected = { code: 'REDIS_URL_INVALID', message: expect.stringContaining(words) }
      expect(await refusal(door as Door, { url: given })).toMatchObject(expected)
    }
  })
})
