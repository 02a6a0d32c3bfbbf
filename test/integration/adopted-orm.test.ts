import {
  defineEntity,
  type EventSubscriber,
  type FlushEventArgs,
  type MikroORM,
  p,
  RequestContext,
  TableNotFoundException,
} from '@mikro-orm/core'
import { Migration, Migrator } from '@mikro-orm/migrations'
import { MikroORM as PostgresqlORM } from '@mikro-orm/postgresql'
import { MikroORM as SqliteORM } from '@mikro-orm/sqlite'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { assessment, User, userCache } from '../../src/assessment/index.ts'
import { memoryCache } from '../../src/cache/cache-choice.ts'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { dataAccess } from '../../src/extension.ts'
import { DomainEvent } from '../../src/outbox/event/domain-event.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../support/databases.ts'
import { NoteTagged } from '../support/notes-module.ts'

/** The application's own: an entity, a migration, a subscriber. */
const InvoiceSchema = defineEntity({
  name: 'Invoice',
  tableName: 'invoices',
  properties: { id: p.string().length(36).primary(), total: p.integer() },
})
class Invoice extends InvoiceSchema.class {}
InvoiceSchema.setClass(Invoice)

class CreateInvoices extends Migration {
  override up(): void {
    this.addSql('create table invoices (id varchar(36) primary key, total int not null)')
  }
}

class Audit implements EventSubscriber {
  readonly changes: string[] = []
  throwAfterCommit = false

  afterFlush({ uow }: FlushEventArgs): void {
    this.changes.push(...uow.getChangeSets().map(({ type, meta }) => `${type} ${meta.className}`))
  }
  async afterTransactionCommit(): Promise<void> {
    if (this.throwAfterCommit) throw new Error('the audit is away')
  }
}

describe.each(dialects)("an application's own ORM on %s", (dialect) => {
  let database: TestDatabase
  let orm: MikroORM
  let data: DataAccess
  let audit: Audit

  const openOrm = async (more: { schema?: string } = {}): Promise<MikroORM> => {
    const options = {
      ...more,
      entities: [Invoice],
      subscribers: [audit],
      extensions: [Migrator, dataAccess({ modules: [assessment, { name: 'invoices', events: [NoteTagged] }] })],
      migrations: { migrationsList: [{ name: 'app-001', class: CreateInvoices }], snapshot: false, silent: true },
      ensureDatabase: false,
    }
    return dialect === 'sqlite'
      ? SqliteORM.init({ ...options, dbName: database.url.replace('sqlite:', '') })
      : PostgresqlORM.init({ ...options, clientUrl: database.url })
  }

  beforeEach(async () => {
    database = await openTestDatabase(dialect)
    audit = new Audit()
    orm = await openOrm()
    await orm.migrator.up()
    data = await createDataAccess({ orm, cache: memoryCache({ singleProcess: true }) })
    await data.migrate()
  })
  afterEach(async () => {
    await data.close()
    await orm.close(true)
    await database.close()
  })

  const events = () => orm.em.fork().findAll(DomainEvent, { orderBy: { sequence: 'asc' } })

  it('keeps its own migrations, subscribers and entities beside ours', async () => {
    expect(await orm.migrator.getPending()).toEqual([])
    expect(await data.migrate()).toEqual([])
    await data.unitOfWork(async ({ em, record }) => {
      em.create(Invoice, { id: 'i1', total: 10 })
      em.create(User, { email: 'alex@innovateai.dev', name: 'Alex' })
      record(NoteTagged, 'i1', { total: 10 })
    })
    expect(audit.changes.sort()).toEqual(['create Invoice', 'create User'])
    expect(await orm.em.fork().count(Invoice)).toBe(1)
    expect(await events()).toHaveLength(1)
  })

  it('is refused with a schema of its own, in which our tables would not be', async () => {
    const elsewhere = await openOrm({ schema: 'app' })
    const message = expect.stringContaining('-c search_path=app')
    await expect(createDataAccess({ orm: elsewhere })).rejects.toMatchObject({ code: 'OPTION_INVALID', message })
    await elsewhere.close(true)
  })

  it("leaves our tables alone in the application's schema commands", async () => {
    await orm.em.getConnection().execute('select count(*) from domain_events')
    const postgresql = dialect === 'postgresql'
    if (postgresql) await orm.em.getConnection().execute('create function theirs() returns int language sql as $$ select 1 $$')
    const sql = await orm.schema.getUpdateSchemaSQL({ wrap: false })
    expect(sql).not.toMatch(/domain_events|outbox_/)
    // The application's own are still its to drop.
    if (postgresql) expect(sql).toMatch(/drop function .*theirs/)
  })

  it("lets a request's em join, with the edits already made in it", async () => {
    await orm.em.fork().transactional(async (em) => void em.create(Invoice, { id: 'i1', total: 10 }))
    await RequestContext.create(orm.em, async () => {
      const invoice = await orm.em.findOneOrFail(Invoice, 'i1')
      invoice.total = 20
      await data.unitOfWork(
        async ({ em, record }) => {
          expect(await em.findOneOrFail(Invoice, 'i1')).toBe(invoice)
          record(NoteTagged, 'i1', { total: invoice.total })
        },
        { em: orm.em },
      )
    })
    expect((await orm.em.fork().findOneOrFail(Invoice, 'i1')).total).toBe(20)
    expect((await events()).map(({ payload }) => payload)).toEqual([{ total: 20 }])
  })

  it('expires what it caches when the application flushes by itself, and only after its commit', async () => {
    const user = orm.em.fork().create(User, { email: 'alex@innovateai.dev', name: 'Alex' })
    await orm.em.fork().persist(user).flush()
    expect((await data.cached(userCache).get(user.id))?.name).toBe('Alex')
    const em = orm.em.fork()
    const managed = await em.findOneOrFail(User, user.id)
    managed.name = 'Alexandra'
    await em.flush()
    expect((await data.cached(userCache).get(user.id))?.name).toBe('Alexandra')
    await em
      .transactional(async (inner) => {
        ;(await inner.findOneOrFail(User, user.id)).name = 'never'
        await inner.flush()
        throw new Error('rolled back')
      })
      .catch(() => {})
    expect((await data.cached(userCache).get(user.id))?.name).toBe('Alexandra')
    expect(data.cached(userCache).stats()).toMatchObject({ hits: 1, misses: 2 })
  })

  it('hears of a commit although a subscriber of the application throws afterwards', async () => {
    const user = await data.unitOfWork(async ({ em }) => em.create(User, { email: 'alex@innovateai.dev', name: 'Alex' }))
    await data.cached(userCache).get(user.id)
    audit.throwAfterCommit = true
    const em = orm.em.fork()
    ;(await em.findOneOrFail(User, user.id)).name = 'Alexandra'
    await expect(em.flush()).rejects.toThrow('the audit is away')
    expect((await data.cached(userCache).get(user.id))?.name).toBe('Alexandra')
  })

  it('stays open when the data access closes', async () => {
    await data.close()
    expect(await orm.em.fork().count(Invoice)).toBe(0)
    expect(() => data.fork()).toThrow(expect.objectContaining({ code: 'CLOSED' }))
  })

  it('says which of our tables is missing, and leaves errors of its own tables as they were', async () => {
    const em = orm.em.fork()
    await data.migrate({ direction: 'down', to: 0 })
    await expect(em.count(User)).rejects.toMatchObject({ code: 'MIGRATION_MISSING' })
    await orm.em.getConnection().execute('drop table invoices')
    await expect(em.count(Invoice)).rejects.toBeInstanceOf(TableNotFoundException)
  })

  it('refuses a second data access, and an ORM without our extension', async () => {
    await expect(createDataAccess({ orm })).rejects.toMatchObject({ code: 'OPTION_INVALID' })
    const plain = await SqliteORM.init({ entities: [Invoice], dbName: ':memory:' })
    await expect(createDataAccess({ orm: plain })).rejects.toMatchObject({
      code: 'OPTION_INVALID',
      message: expect.stringContaining('extensions: [dataAccess('),
    })
    await plain.close()
  })

  it('can be adopted after a call that was refused, and not a second time', async () => {
    const own = await openOrm()
    const refuse = () => {
      throw new Error('it was refused')
    }
    const refused = createDataAccess({ orm: own, cache: { ...memoryCache({ singleProcess: true }), open: refuse } })
    await expect(refused).rejects.toThrow('it was refused')
    const adopted = await createDataAccess({ orm: own, cache: memoryCache({ singleProcess: true }) })
    await expect(createDataAccess({ orm: own, cache: false })).rejects.toMatchObject({ code: 'OPTION_INVALID' })
    const hooks: number[] = []
    await adopted.unitOfWork(async ({ em, record, afterCommit }) => {
      em.create(Invoice, { id: 'refused', total: 1 })
      record(NoteTagged, 'refused', 1)
      afterCommit(() => void hooks.push(1))
    })
    expect(hooks).toEqual([1])
    expect(await adopted.outbox.stats()).toMatchObject({ backlog: 1 })
    await adopted.close()
    await own.close(true)
  })

  it('can be adopted again after close(), any number of times, and each hears of everything once', async () => {
    const alex = await data.unitOfWork(async ({ em }) => em.create(User, { email: 'alex@innovateai.dev', name: 'Alex 0' }))
    const listeners = () => [...orm.em.getEventManager().getSubscribers()].length
    const before = listeners()
    for (let round = 1; round <= 3; round++) {
      const closed = data
      await closed.close()
      data = await createDataAccess({ orm, cache: memoryCache({ singleProcess: true }) })
      expect(() => closed.fork()).toThrow(expect.objectContaining({ code: 'CLOSED' }))
      await expect(createDataAccess({ orm })).rejects.toMatchObject({ code: 'OPTION_INVALID' })
      const hooks: number[] = []
      const cached = data.cached(userCache)
      expect((await cached.get(alex.id))?.name).toBe(`Alex ${round - 1}`)
      const invalidated = () => data.stats().then(({ cache }) => cache?.invalidations)
      await data.unitOfWork(async ({ em, record, afterCommit }) => {
        ;(await em.findOneOrFail(User, alex.id)).name = `Alex ${round}`
        record(NoteTagged, 'round', round)
        afterCommit(() => void hooks.push(round))
      })
      expect((await cached.get(alex.id))?.name).toBe(`Alex ${round}`)
      expect(hooks).toEqual([round])
      // One row, changed once: its key alone, whatever caches there were before.
      expect(await invalidated()).toMatchObject({ keys: 1, unacknowledged: 0 })
      await orm.em.fork().nativeUpdate(User, { id: alex.id }, { name: `Bulk ${round}` })
      expect((await cached.get(alex.id))?.name).toBe(`Bulk ${round}`)
      await orm.em.fork().nativeUpdate(User, { id: alex.id }, { name: `Alex ${round}` })
      expect(await invalidated()).toMatchObject({ keys: 3, unacknowledged: 0 })
      const payloads: unknown[] = []
      await data.outbox.relay({ publisher: ({ payload }) => void payloads.push(payload) }).drain()
      expect(payloads).toEqual([round])
    }
    expect(listeners()).toBe(before)
  })
})
