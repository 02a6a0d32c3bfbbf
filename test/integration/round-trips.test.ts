import { MikroORM as PostgresqlORM } from '@mikro-orm/postgresql'
import type { Pool } from 'pg'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { runSql } from '../../src/database/sql.ts'
import { dataAccess } from '../../src/extension.ts'
import { DomainEvent } from '../../src/outbox/event/domain-event.ts'
import { openTestDatabase, type TestDatabase } from '../support/databases.ts'
import { Note, NoteTagged, notes } from '../support/notes-module.ts'

/** What the client was given to send, in order: each is one round trip. */
type Messages = string[]

/** Listens at the clients themselves, below everything of ours. */
function listening(messages: Messages) {
  return {
    onPoolCreated: (pool: Pool) => {
      pool.on('connect', (client) => {
        const query = client.query.bind(client) as (...args: unknown[]) => unknown
        client.query = ((...args: unknown[]) => {
          messages.push(typeof args[0] === 'string' ? args[0] : 'cursor')
          return query(...args)
        }) as never
      })
    },
  }
}

const owners = {
  'a data access': async (url: string, messages: Messages) => {
    const data = await createDataAccess({ modules: [notes], database: { url, driverOptions: listening(messages) } })
    return { data, close: () => data.close() }
  },
  "an application's ORM": async (url: string, messages: Messages) => {
    const orm = await PostgresqlORM.init({
      clientUrl: url,
      ensureDatabase: false,
      entities: [Note],
      driverOptions: listening(messages),
      extensions: [dataAccess({ modules: [notes] })],
    })
    const data = await createDataAccess({ orm, cache: false })
    const close = async () => {
      await data.close()
      await orm.close(true)
    }
    return { data, close }
  },
}

describe.each(Object.entries(owners))('on PostgreSQL, in the transactions of %s', (_, open) => {
  let database: TestDatabase
  let data: DataAccess
  let close: () => Promise<void>
  const messages: Messages = []

  beforeEach(async () => {
    database = await openTestDatabase('postgresql')
    ;({ data, close } = await open(database.url, messages))
    await data.migrate()
    // The first transaction of a connection has more to ask.
    await data.unitOfWork(async ({ em }) => void (await em.count(Note)))
    messages.length = 0
  })
  afterEach(async () => {
    expect((await data.stats()).pool).toMatchObject({ inUse: 0, waiting: 0 })
    const [sessions] = await runSql<{ open: string }>(
      data.fork(),
      `select count(*)::text as open from pg_stat_activity where datname = current_database() and state like 'idle in transaction%'`,
    )
    expect(sessions?.open).toBe('0')
    await close()
    await database.close()
  })

  const stored = async () => ({
    notes: (await data.fork().findAll(Note, { orderBy: { id: 'asc' } })).map(({ id }) => id),
    events: (await data.fork().findAll(DomainEvent, { orderBy: { sequence: 'asc' } })).map(({ payload }) => payload),
  })
  const nothing = { notes: [], events: [] }
  const refuseEvents = () =>
    runSql(data.fork(), `alter table domain_events add constraint refused check (payload::text <> '"refused"')`)

  it('a row and its event take two messages, an event alone takes one, and nothing takes none', async () => {
    await data.unitOfWork(async ({ em, record }) => void record(NoteTagged, em.create(Note, { id: 'a', title: 'a' }), 1))
    expect(messages).toEqual([
      expect.stringMatching(/^begin\n;insert into "notes"/),
      expect.stringMatching(/insert into domain_events[\s\S]*\n;commit$/),
    ])
    messages.length = 0
    await data.unitOfWork(async ({ record }) => void record(NoteTagged, 'a', 2))
    expect(messages).toEqual([expect.stringMatching(/^begin\n;[\s\S]*insert into domain_events[\s\S]*\n;commit$/)])
    messages.length = 0
    await data.unitOfWork(async () => {})
    await expect(data.unitOfWork(() => Promise.reject(new Error('no')))).rejects.toThrow('no')
    expect(messages).toEqual([])
    expect(await stored()).toEqual({ notes: ['a'], events: [1, 2] })
  })

  it('an isolation level travels too, and holds', async () => {
    const level = await data.unitOfWork(
      async ({ em }) => {
        await runSql(em, 'select 1')
        return runSql<{ transaction_isolation: string }>(em, 'show transaction_isolation')
      },
      { isolation: 'serializable' },
    )
    expect(level).toEqual([{ transaction_isolation: 'serializable' }])
    expect(messages[0]).toBe('start transaction isolation level serializable\n;select 1')
  })

  it('a first statement gives its own rows, and a first text of several statements what it gives alone', async () => {
    await data.unitOfWork(async ({ em }) => expect(await runSql(em, 'select 7 as n')).toEqual([{ n: 7 }]))
    const alone = await runSql(data.fork(), 'select 7 as n;select 8 as n')
    await data.unitOfWork(async ({ em }) => expect(await runSql(em, 'select 7 as n;select 8 as n')).toEqual(alone))
  })

  it.each([
    ['cannot be parsed', 'selec 1'],
    ['names a table that is not there', 'select * from nowhere'],
    ['divides by zero', 'select 1 / 0'],
  ])('a first statement that %s leaves nothing outside the transaction, though its error is caught', async (_what, sql) => {
    const unit = data.unitOfWork(async ({ em, record }) => {
      await expect(runSql(em, sql)).rejects.toThrow()
      record(NoteTagged, em.create(Note, { id: 'a', title: 'a' }), 1)
    })
    await expect(unit).rejects.toThrow()
    const quiet = data.unitOfWork(async ({ em, record }) => {
      await expect(runSql(em, sql)).rejects.toThrow()
      record(NoteTagged, 'a', 1)
    })
    await expect(quiet).rejects.toMatchObject({ code: 'TRANSACTION_ABORTED' })
    expect(await stored()).toEqual(nothing)
  })

  it('first statements that run side by side are all inside, also behind one that fails', async () => {
    const insert = (id: string) => `insert into notes (id, title) values ('${id}', '${id}')`
    const unit = data.unitOfWork(async ({ em }) => {
      const results = await Promise.allSettled([runSql(em, 'selec 1'), runSql(em, insert('a')), runSql(em, insert('b'))])
      expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected'])
    })
    await expect(unit).rejects.toMatchObject({ code: 'TRANSACTION_ABORTED' })
    expect(await stored()).toEqual(nothing)
  })

  it('a first statement that nobody awaits leaves no transaction open', async () => {
    const unit = data.unitOfWork(async ({ em }) => void runSql(em, 'selec 1').catch(() => {}))
    await unit.catch(() => {})
    await data.unitOfWork(async ({ em }) => void em.create(Note, { id: 'a', title: 'a' }))
    expect(await stored()).toEqual({ notes: ['a'], events: [] })
  })

  it('a script that begins and commits by itself is sent as it is', async () => {
    await runSql(data.fork(), "begin; insert into notes (id, title) values ('a', 'a'); commit")
    expect(await stored()).toEqual({ notes: ['a'], events: [] })
  })

  it.each([
    ['begin', ['a', 'b']],
    ["begin; update notes set title = 'script' where id = 'a'; commit", ['a', 'b']],
  ])('%s inside a unit does what it does without us, and leaves nothing open', async (sql, kept) => {
    await data.unitOfWork(async ({ em }) => {
      em.create(Note, { id: 'a', title: 'a' })
      await em.flush()
      await runSql(em, sql)
    })
    const rolledBack = data.unitOfWork(async ({ em }) => {
      em.create(Note, { id: 'lost', title: 'lost' })
      await em.flush()
      await runSql(em, 'begin')
      throw new Error('back')
    })
    await expect(rolledBack).rejects.toThrow('back')
    await data.unitOfWork(async ({ em }) => void em.create(Note, { id: 'b', title: 'b' }))
    expect((await stored()).notes).toEqual(kept)
  })

  it('the commit is none of the comments that a hook of the application adds', async () => {
    const config = data.orm.config as unknown as { set(name: string, value: unknown): void }
    config.set('onQuery', (sql: string) => `${sql} -- trace=1`)
    await data.unitOfWork(async ({ em, record }) => void record(NoteTagged, em.create(Note, { id: 'a', title: 'a' }), 1))
    expect(messages.some((message) => message.includes('-- trace=1'))).toBe(true)
    expect(await stored()).toEqual({ notes: ['a'], events: [1] })
  })

  it.each(['commit', 'rollback'])('a statement that comes late opens nothing behind the %s, at whichever tick', async (end) => {
    for (let ticks = 0; ticks < 40; ticks++) {
      let late: Promise<unknown> = Promise.resolve()
      const unit = data.unitOfWork(async ({ em }) => {
        late = (async () => {
          for (let tick = 0; tick < ticks; tick++) await null
          await runSql(em, 'selec 1')
        })()
        late.catch(() => {})
        if (end === 'rollback') throw new Error('back')
      })
      await unit.catch(() => {})
      await late.catch(() => {})
      // On the same connection, outside: refused if a transaction that failed were open there.
      expect(await runSql(data.fork(), 'select 1 as n')).toEqual([{ n: 1 }])
    }
  })

  it('an error names its place in the text of its caller, and a broken constraint is not asked about', async () => {
    const unit = data.unitOfWork(async ({ em }) => void (await runSql(em, 'select missing from notes')))
    await expect(unit).rejects.toMatchObject({ position: '8' })
    await data.unitOfWork(async ({ em }) => void em.create(Note, { id: 'a', title: 'a' }))
    messages.length = 0
    const twice = data.unitOfWork(async ({ em }) => void (await em.insert(Note, { id: 'a', title: 'a' })))
    await expect(twice).rejects.toThrow(/unique/)
    expect(messages).toEqual([expect.stringMatching(/^begin/), 'rollback'])
  })

  it('a savepoint may come first, and roll back alone', async () => {
    await data.unitOfWork(async ({ em, record }) => {
      const nested = data.unitOfWork(async (inner) => {
        inner.record(NoteTagged, 'a', 'lost')
        await runSql(inner.em, 'selec 1')
      })
      await expect(nested).rejects.toThrow()
      record(NoteTagged, em.create(Note, { id: 'a', title: 'a' }), 'kept')
    })
    expect(await stored()).toEqual({ notes: ['a'], events: ['kept'] })
  })

  it('a first statement with parameters, or read by a cursor, is inside the transaction', async () => {
    for (const rollBack of [false, true]) {
      const id = rollBack ? 'b' : 'a'
      const unit = data.unitOfWork(async ({ em, record }) => {
        const kysely = (em as unknown as { getKysely(): { insertInto(table: string): Insert } }).getKysely()
        await kysely.insertInto('notes').values({ id, title: id }).execute()
        record(NoteTagged, id, id)
        if (rollBack) throw new Error('back')
      })
      await (rollBack ? expect(unit).rejects.toThrow('back') : unit)
    }
    expect(messages[0]).toBe('begin')
    expect(await stored()).toEqual({ notes: ['a'], events: ['a'] })
    messages.length = 0
    const seen: string[] = []
    const unit = data.unitOfWork(async ({ em }) => {
      for await (const { id } of em.stream(Note, {})) seen.push(id)
      em.create(Note, { id: 'c', title: 'c' })
      await em.flush()
      throw new Error('back')
    })
    await expect(unit).rejects.toThrow('back')
    expect([seen, messages.slice(0, 2)]).toEqual([['a'], ['begin', 'cursor']])
    expect(await stored()).toEqual({ notes: ['a'], events: ['a'] })
  })

  it('an event that the database refuses takes the rows along, and its error is told', async () => {
    await refuseEvents()
    const unit = data.unitOfWork(async ({ em, record }) => {
      record(NoteTagged, em.create(Note, { id: 'a', title: 'a' }), 'refused')
    })
    await expect(unit).rejects.toThrow(/refused/)
    await expect(data.unitOfWork(async ({ record }) => void record(NoteTagged, 'a', 'refused'))).rejects.toThrow(/refused/)
    await data.unitOfWork(async ({ record }) => void record(NoteTagged, 'a', 'fine'))
    expect(await stored()).toEqual({ notes: [], events: ['fine'] })
  })

  it('a subscriber behind us still works in the transaction, and hears of an event that is refused', async () => {
    await refuseEvents()
    const errors: unknown[] = []
    const write = (payload: string) =>
      data.unitOfWork(async ({ em, record }) => {
        record(NoteTagged, em.create(Note, { id: payload, title: payload }), payload)
        em.getEventManager().registerSubscriber({
          // Registered last, it runs behind our last statement and before the commit.
          beforeTransactionCommit: async (args) => {
            const sql = `update notes set count = (select count(*) from domain_events) where id = '${payload}'`
            await runSql(args.em as typeof em, sql).catch((error: unknown) => void errors.push(error))
          },
        })
      })
    await write('fine')
    await expect(write('refused')).rejects.toThrow(/refused/)
    expect(errors).toEqual([expect.objectContaining({ message: expect.stringContaining('refused') })])
    expect(await stored()).toEqual({ notes: ['fine'], events: ['fine'] })
    expect((await data.fork().findOneOrFail(Note, 'fine')).count).toBe(1)
  })

  it('a statement that failed and was caught makes the commit with an event fail as one without', async () => {
    const unit = data.unitOfWork(async ({ em, record }) => {
      em.create(Note, { id: 'a', title: 'a' })
      await em.flush()
      await runSql(em, 'insert into nowhere values (1)').catch(() => {})
      record(NoteTagged, 'a', 1)
    })
    await expect(unit).rejects.toMatchObject({ code: 'TRANSACTION_ABORTED' })
    expect(await stored()).toEqual(nothing)
  })
})

interface Insert {
  values(row: object): { execute(): Promise<unknown> }
}
