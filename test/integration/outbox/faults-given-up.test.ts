import pg from 'pg'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createDataAccess } from '../../../src/data-access.ts'
import { withShortStatements } from '../../../src/database/short-statements.ts'
import { runSql } from '../../../src/database/sql.ts'
import { OutboxStore } from '../../../src/outbox/store/outbox-store.ts'
import { openTestDatabase, type TestDatabase } from '../../support/databases.ts'
import { type OutboxUnderTest, openOutbox } from '../../support/outbox-bench.ts'
import { openProxyTo, type UrlProxy } from '../../support/tcp-proxy.ts'

describe('a statement that a relay gave up', () => {
  let database: TestDatabase
  let proxy: UrlProxy
  let bench: OutboxUnderTest
  /** These reach PostgreSQL itself. One holds a lock as a migration would; in its transaction it would see old figures. */
  let locker: pg.Client
  let watcher: pg.Client

  beforeEach(async () => {
    database = await openTestDatabase('postgresql')
    proxy = await openProxyTo(database.url)
    bench = await openOutbox(proxy.url)
    locker = new pg.Client({ connectionString: database.url })
    watcher = new pg.Client({ connectionString: database.url })
    for (const client of [locker, watcher]) await client.connect()
  })
  afterEach(async () => {
    for (const client of [locker, watcher]) await client.end()
    await bench.close()
    await proxy.close().catch(() => {})
    await database.close()
  })

  const startRelay = async () => {
    const delivered: unknown[] = []
    const relay = bench.outbox.relay({
      publisher: ({ payload }) => void delivered.push(payload),
      lease: 2000,
      publishTimeout: 500,
      pollInterval: { min: 5, max: 50 },
    })
    await bench.record('a', [1])
    await relay.start()
    await expect.poll(() => delivered, { timeout: 20_000 }).toEqual([1])
    await bench.record('a', [2])
    await expect.poll(() => relay.status().published, { timeout: 20_000 }).toBe(2)
    return { relay, delivered }
  }
  const lock = async () => {
    await locker.query('begin')
    await locker.query('lock table domain_events in access exclusive mode')
  }
  /** How many statements wait for the lock, in PostgreSQL's own eyes. */
  const waiting = async () => {
    const { rows } = await watcher.query<{ n: string }>(
      "select count(*) as n from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and state = 'active'",
    )
    return Number(rows[0]?.n)
  }
  const endsThere = async () => {
    const done = { timeout: 60_000, interval: 50 }
    await expect.poll(waiting, done).toBe(0)
    await locker.query('rollback')
  }

  test('because of a lock ends in PostgreSQL too, before the lock does', { timeout: 120_000 }, async () => {
    const { relay, delivered } = await startRelay()
    const told: unknown[] = []
    relay.on('paused', ({ error }) => told.push(error))
    await lock()
    await expect.poll(() => told.length, { timeout: 60_000 }).toBe(1)
    // The server answered, and the connection is whole.
    expect(String(told[0])).toContain('statement timeout')
    await relay.stop({ deadline: 0 })
    await endsThere()
    await bench.record('a', [3])
    await bench.outbox.relay({ publisher: ({ payload }) => void delivered.push(payload) }).drain()
    expect(delivered).toEqual([1, 2, 3])
  })

  test('behind a network that stands still ends in PostgreSQL too', { timeout: 120_000 }, async () => {
    const { relay, delivered } = await startRelay()
    await lock()
    await expect.poll(waiting, { timeout: 20_000 }).toBeGreaterThan(0)
    proxy.stall()
    await endsThere()
    proxy.cut()
    proxy.resume()
    await bench.record('a', [3])
    await expect.poll(() => delivered, { timeout: 60_000 }).toEqual([1, 2, 3])
    await relay.stop()
  })
})

describe('an answer within a limit', () => {
  const timeout = "select current_setting('statement_timeout') as ms"

  test.each([
    [undefined, '4500ms', '0'],
    [1000, '1s', '1s'],
    [60_000, '4500ms', '1min'],
  ])('with statementTimeoutMs %s is asked for by statements of their own, and nothing stays behind', async (own, asked, left) => {
    const database = await openTestDatabase('postgresql')
    const pool = { max: 1 }
    const data = await createDataAccess({
      database: { url: database.url, pool, ...(own === undefined ? {} : { statementTimeoutMs: own }) },
    })
    const read = async (em = data.fork()) => (await runSql<{ ms: string }>(em, timeout))[0]?.ms
    expect(await read()).toBe(left)
    expect(await withShortStatements(5000, read)).toBe(asked)
    expect(await read()).toBe(left)
    const both = withShortStatements(5000, () => data.fork().transactional(async (em) => [await read(em), await read(em)]))
    expect(await both).toEqual([asked, asked])
    expect(await read()).toBe(left)
    await data.close()
    await database.close()
  })

  test('are planned without the just-in-time compiler, also where no limit is asked for, and nothing stays behind', async () => {
    const database = await openTestDatabase('postgresql')
    const data = await createDataAccess({ database: { url: database.url, pool: { max: 1 } } })
    const jit = "select current_setting('jit') as jit"
    const own = async () => (await runSql<{ jit: string }>(data.fork(), jit))[0]?.jit
    await runSql(data.fork(), 'set jit = on')
    for (const answerMs of [undefined, 5000]) {
      const store = new OutboxStore(data.orm, answerMs)
      expect(await store.run(jit)).toEqual([{ jit: 'off' }])
      expect(await store.transaction((em) => runSql(em, jit))).toEqual([{ jit: 'off' }])
      expect(await own()).toBe('on')
    }
    await data.close()
    await database.close()
  })
})
