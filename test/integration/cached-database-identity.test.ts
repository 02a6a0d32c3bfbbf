import { randomUUID } from 'node:crypto'
import { rmSync } from 'node:fs'
import { defineEntity, p } from '@mikro-orm/core'
import pg from 'pg'
import { afterEach, describe, expect, inject, test } from 'vitest'
import { cachedQuery, dep } from '../../src/cache/cached-query.ts'
import { cachePolicy } from '../../src/cache/policy.ts'
import { redisCache } from '../../src/cache/redis/redis-cache.ts'
import { createDataAccess } from '../../src/data-access.ts'
import { openTestDatabase, type TestDatabase } from '../support/databases.ts'
import { MemoryLogger } from '../support/memory-logger.ts'

const SecretSchema = defineEntity({
  name: 'Secret',
  tableName: 'secrets',
  properties: { id: p.integer().primary(), owner: p.text(), text: p.text() },
})
class Secret extends SecretSchema.class {}
SecretSchema.setClass(Secret)
const texts = cachedQuery({
  name: 'texts',
  dependsOn: () => [dep(Secret)],
  run: async (em) => (await em.find(Secret, {}, { orderBy: { id: 'asc' } })).map(({ text }) => text),
})

const open: (() => unknown)[] = []
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close()
})

async function openAccess(url: string, prefix: string, logger = new MemoryLogger()) {
  const data = await createDataAccess({
    modules: [{ name: 'secrets', entities: [Secret], caches: [cachePolicy(Secret), texts] }],
    database: { url },
    cache: redisCache({ url: inject('redisUrl'), prefix, timeoutMs: 5000 }),
    logger,
  })
  open.push(() => data.close())
  return data
}

async function openOwner(url: string, prefix: string) {
  const data = await openAccess(url, prefix)
  await data.migrate()
  await data.orm.schema.update()
  return data
}

async function onServer(url: string, ...statements: readonly string[]): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    for (const statement of statements) await client.query(statement)
  } finally {
    await client.end()
  }
}

describe('a database that is made anew under its name', () => {
  const renew: readonly (readonly [
    what: string,
    dialect: 'sqlite' | 'postgresql',
    renew: (database: TestDatabase) => unknown,
  ])[] = [
    ['a file', 'sqlite', ({ url }) => rmSync(url.replace('sqlite:', ''))],
    [
      'a database',
      'postgresql',
      ({ url }) => {
        const name = new URL(url).pathname.slice(1)
        return onServer(inject('databaseUrl'), `drop database ${name} with (force)`, `create database ${name}`)
      },
    ],
    ['a schema', 'postgresql', ({ url }) => onServer(url, 'drop schema public cascade', 'create schema public')],
  ]
  test.each(renew)('has nothing of the old one: %s of %s', async (_what, dialect, renewed) => {
    const database = await openTestDatabase(dialect)
    open.push(() => database.close())
    const prefix = `test-${randomUUID()}:`
    const old = await openOwner(database.url, prefix)
    await old.unitOfWork(async ({ em }) => void em.create(Secret, { id: 1, owner: 'me', text: 'old' }))
    expect((await old.cached(Secret).get(1))?.text).toBe('old')
    await old.close()
    await renewed(database)
    const next = await openOwner(database.url, prefix)
    expect(await next.cached(Secret).get(1)).toBeNull()
  })
})

describe('roles of one database on PostgreSQL', () => {
  const setUp = async (more: (one: string, two: string) => readonly string[]) => {
    const database = await openTestDatabase('postgresql')
    open.push(() => database.close())
    const prefix = `test-${randomUUID()}:`
    const owner = await openOwner(database.url, prefix)
    const roles = ['a', 'b'].map((name) => `test_${name}_${randomUUID().slice(0, 8)}`) as [string, string]
    open.push(() => onServer(database.url, ...roles.flatMap((role) => [`drop owned by ${role}`, `drop role ${role}`])))
    await onServer(
      database.url,
      ...roles.flatMap((role) => [`create role ${role} login`, `grant all on all tables in schema public to ${role}`]),
      ...more(...roles),
    )
    const as = (role: string, logger?: MemoryLogger) => {
      const url = new URL(database.url)
      url.username = role
      return openAccess(url.href, prefix, logger)
    }
    return { owner, roles, as }
  }
  const ownRows = () => [
    'alter table secrets enable row level security',
    'create policy own on secrets using (owner = current_user)',
  ]

  test('to which it shows other rows never get each other’s, and expire each other’s', async () => {
    const { owner, roles, as } = await setUp(ownRows)
    await owner.unitOfWork(async ({ em }) => {
      for (const [index, role] of roles.entries()) em.create(Secret, { id: index + 1, owner: role, text: `of ${index + 1}` })
    })
    const logger = new MemoryLogger()
    const [one, two] = [await as(roles[0]), await as(roles[1], logger)]
    for (let turn = 1; turn <= 2; turn++) {
      expect([(await one.cached(Secret).get(1))?.text, await one.cached(texts).get({})]).toEqual(['of 1', ['of 1']])
      expect([await two.cached(Secret).get(1), await two.cached(texts).get({})]).toEqual([null, ['of 2']])
    }
    expect(JSON.stringify(logger.warnings)).toContain('all processes of one the same role')
    await one.cached(Secret).get(1)
    await owner.unitOfWork(async ({ em }) => {
      const secret = await em.findOneOrFail(Secret, 1)
      secret.text = 'new'
    })
    expect((await one.cached(Secret).get(1))?.text).toBe('new')
  })

  type SetUp = Parameters<typeof setUp>[0]
  const same: readonly (readonly [what: string, login: 0 | 1, more: SetUp])[] = [
    [
      'of their own role, whatever they may ask of the catalog',
      0,
      () => ['revoke select on pg_database, pg_namespace from public'],
    ],
    [
      'that log in by another one and set theirs',
      1,
      (one, two) => [`grant ${one} to ${two}`, `alter role ${two} set role ${one}`],
    ],
  ]
  test.each(same)('share what they cache with processes %s', async (_what, login, more) => {
    const { owner, roles, as } = await setUp(more)
    await owner.unitOfWork(async ({ em }) => void em.create(Secret, { id: 1, owner: 'me', text: 'shared' }))
    const [one, two] = [await as(roles[0]), await as(roles[login])]
    await one.cached(Secret).get(1)
    await expect.poll(async () => (await two.cached(Secret).get(1)) && two.cached(Secret).stats().hits).toBeGreaterThan(0)
    expect(two.cached(Secret).stats().loads).toBe(0)
  })
})
