import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { EntityManager } from '@mikro-orm/core'
import { expect, inject, test } from 'vitest'
import { redisCache } from '../../src/cache/redis/redis-cache.ts'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { runSql } from '../../src/database/sql.ts'
import { Author, authorPolicy, Book, countBooks } from '../support/cache-entities.ts'
import { openTestDatabase } from '../support/databases.ts'
import { Note, NoteTagged, notes } from '../support/notes-module.ts'
import { closesOpened } from '../support/opened.ts'

const opened = closesOpened()
const authors = { name: 'authors', entities: [Author, Book], caches: [authorPolicy, countBooks] }
const guide = readFileSync(join(import.meta.dirname, '../../docs/guides/connecting.md'), 'utf8')
const grantsOfGuide = /```sql\n(.*?)```/s.exec(guide)?.[1] ?? ''

/** A database that one role owns and another one uses. */
async function openTwoRoles({ migrated = true }: { readonly migrated?: boolean } = {}) {
  const database = opened(await openTestDatabase('postgresql'))
  const role = `test_app_${randomUUID().slice(0, 8)}`
  const open = async (url: URL) => {
    const cache = redisCache({ url: inject('redisUrl'), prefix: `test-${role}:`, timeoutMs: 5000 })
    return opened(await createDataAccess({ modules: [notes, authors], database: { url: url.href }, cache }))
  }
  const owner = await open(new URL(database.url))
  const run = (sql: string) => runSql(owner.fork(), sql)
  await run(`create role ${role} login`)
  opened({ close: () => run(`drop owned by ${role}`).then(() => run(`drop role ${role}`)) })
  // So it is from PostgreSQL 15 on.
  await run('revoke create on schema public from public')
  if (migrated) {
    await owner.migrate()
    await owner.orm.schema.update()
  }
  const url = new URL(database.url)
  url.username = role
  return { owner, run, role, app: await open(url) }
}

const record = (data: DataAccess, id: string) =>
  data.unitOfWork(async (unit) => unit.record(NoteTagged, unit.em.create(Note, { id, title: id }), id))

test('the role of a service needs no other rights than those of the guide', async () => {
  const { run, role, app } = await openTwoRoles()
  expect(grantsOfGuide).toContain(' to app;')
  await run(grantsOfGuide.replaceAll(' to app;', ` to ${role};`))
  await run(`grant select, insert, update, delete on notes, authors, books to ${role}`)

  expect(await app.pendingMigrations()).toEqual([])
  expect(await app.health({ migrations: true })).toMatchObject({ ok: true })
  await record(app, 'a')
  await record(app, 'b')
  const id = randomUUID()
  await app.unitOfWork(async ({ em }) => void em.create(Author, { id, email: 'a@example.com', name: 'Alex' }))
  expect((await app.cached(Author).get(id))?.name).toBe('Alex')
  await app.unitOfWork(async ({ em }) => em.assign(await em.findOneOrFail(Author, id), { name: 'Alexa' }))
  await app.fork().nativeUpdate(Author, { id }, { name: 'Alexandra' })
  await app.cached(Author).invalidateAll()
  expect((await app.cached(Author).get(id))?.name).toBe('Alexandra')

  const publisher = ({ payload }: { payload: unknown }) => {
    if (payload === 'b') throw new Error('refused')
  }
  const retry = { attempts: 1 }
  await app.outbox.relay({ publisher, retry }).start()
  await expect.poll(async () => (await app.outbox.stats()).backlog).toBe(0)
  await app.outbox.stop()
  expect(await app.outbox.deadLetters.list()).toHaveLength(1)
  await app.outbox.deadLetters.redrive({ type: NoteTagged.type })
  await app.outbox.relay({ publisher, retry }).drain()
  await app.outbox.deadLetters.discard({ type: NoteTagged.type })
  expect(await app.outbox.prune({ keepMs: 0 })).toBe(1)
  const findings = await app.outbox.doctor()
  expect(findings.filter(({ finding }) => /permission|failed/.test(finding))).toEqual([])
})

interface Rows {
  selectFrom(table: string): { selectAll(): { execute(): Promise<unknown> } }
}
const kyselyOf = (em: EntityManager) => (em as unknown as { getKysely(): Rows }).getKysely()

const uses: readonly (readonly [what: string, use: (app: DataAccess) => Promise<unknown>, object: string])[] = [
  ['migrate()', (app) => app.migrate(), 'schema public'],
  ['pendingMigrations()', (app) => app.pendingMigrations(), 'table mikro_orm_migrations'],
  ['a find', (app) => app.fork().find(Note, {}), 'table notes'],
  ['Kysely', (app) => kyselyOf(app.fork()).selectFrom('notes').selectAll().execute(), 'table notes'],
  ['a cached read', (app) => app.cached(Author).get(randomUUID()), 'table authors'],
  ['a unit', (app) => app.unitOfWork(async ({ em }) => void em.create(Note, { id: 'a', title: 'a' })), 'table notes'],
  [
    'an event',
    (app) => app.unitOfWork(async (unit) => unit.record(NoteTagged, 'a', 1)),
    '(table domain_events|sequence domain_events_sequence)',
  ],
  ['a relay', (app) => app.outbox.relay({ publisher: () => {} }).start(), 'table outbox_relays'],
  ['drain()', (app) => app.outbox.relay({ publisher: () => {} }).drain(), 'table outbox_\\w+'],
  ['stats()', (app) => app.outbox.stats(), 'table \\w+'],
]
test.each(uses)('%s without the right names what was refused, and the grant', async (what, use, object) => {
  const { app } = await openTwoRoles({ migrated: what !== 'migrate()' })
  const error = await use(app).catch((reason: unknown) => reason)
  expect(error).toMatchObject({ code: 'PERMISSION_DENIED' })
  expect((error as Error).message).toMatch(new RegExp(`permission denied for ${object}\\b.*\`grant .* on .* to `))
})

test('health tells that it may not look at the migrations, and does not reject', async () => {
  const { app } = await openTwoRoles()
  const error = expect.stringContaining('permission denied for table mikro_orm_migrations')
  expect(await app.health({ migrations: true })).toMatchObject({
    ok: false,
    database: { ok: true },
    migrations: { ok: false, error },
  })
})

test('a policy of the rows is none of that: its refusal stays the error of the driver', async () => {
  const { run, role, app } = await openTwoRoles()
  await run(`grant select, insert on notes to ${role}`)
  await run('alter table notes enable row level security')
  const insert = (em: EntityManager) => em.insert(Note, { id: 'a', title: 'a', count: 0 })
  await expect(insert(app.fork())).rejects.toMatchObject({ name: 'RowLevelSecurityViolationException', code: '42501' })
})
