import { appendFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { dialects, openTestDatabase, type TestDatabase } from '../../support/databases.ts'
import type { Failpoint } from '../../support/failpoint.ts'
import { type OutboxUnderTest, openOutbox } from '../../support/outbox-bench.ts'
import { type ChildOptions, findInversion, readDeliveries, startRelayProcess } from '../../support/relay-process.ts'

const mark = `set status = 'published'`
const fetch = 'domain_events_fetch|order by e\\.sequence limit'

/** Every step of a batch. */
const steps: Readonly<Record<string, Partial<ChildOptions>>> = {
  'after it registered, before it has leases': {
    failpoint: { statement: 'update outbox_leases set leased_until', when: 'before' },
  },
  'after it took leases': { failpoint: { statement: 'update outbox_leases set owner = .*epoch', when: 'after' } },
  'after its first fetch': { failpoint: { statement: fetch, when: 'after' } },
  'after a later fetch': { failpoint: { statement: fetch, when: 'after', hit: 3 } },
  'before it noted what is in hand': { failpoint: { statement: 'set in_flight', when: 'before' } },
  'after it noted what is in hand': { failpoint: { statement: 'set in_flight', when: 'after', hit: 2 } },
  'between two waves': { killAfter: 1 },
  'after it published, before the mark': { failpoint: { statement: mark, when: 'before' } },
  'while the mark is on its way': { failpoint: { statement: mark, when: 'sent', hit: 2 } },
  'after the mark': { failpoint: { statement: mark, when: 'after', hit: 2 } },
}

type Settling = Readonly<Record<string, { failpoint: Failpoint; as: 'retryable' | 'permanent' }>>

/** Every step of writing down a failure until it stands. */
const settling: Settling = {
  'before it counted an attempt': {
    failpoint: { statement: 'set attempts = s\\.attempts', when: 'before' },
    as: 'retryable',
  },
  'between the attempt and its history': {
    failpoint: { statement: 'insert into outbox_failures', when: 'before' },
    as: 'retryable',
  },
  'after the history, before the commit': {
    failpoint: { statement: 'insert into outbox_failures', when: 'after' },
    as: 'retryable',
  },
  'before the letter': {
    failpoint: { statement: 'insert into outbox_dead_letters', when: 'before' },
    as: 'permanent',
  },
}

/** PostgreSQL moves an event to the dead letters in one statement. */
const settlingOnSqlite: Settling = {
  'between the letter and the removal of its event': {
    failpoint: { statement: 'insert into outbox_dead_letters', when: 'after' },
    as: 'permanent',
  },
  'after the removal, before the commit': {
    failpoint: { statement: 'delete from outbox_failures where', when: 'after' },
    as: 'permanent',
  },
}

describe.each(dialects)('a relay on %s that is killed', (dialect) => {
  let database: TestDatabase
  let bench: OutboxUnderTest
  let folder: string
  let file: string
  let ids: string[]

  beforeEach(async () => {
    database = await openTestDatabase(dialect)
    bench = await openOutbox(database.url)
    folder = mkdtempSync(join(tmpdir(), 'data-access-relay-'))
    file = join(folder, 'published.jsonl')
    ids = []
    for (const payload of [0, 1, 2, 3]) {
      for (const key of ['a', 'b', 'c', 'd', 'e', 'f']) ids.push(...(await bench.record(key, [payload])))
    }
  })
  afterEach(async () => {
    await bench.close()
    await database.close()
    rmSync(folder, { recursive: true, force: true })
  })

  /** Runs a relay until it is dead; tells which events it published without a mark that lasted. */
  const killOne = async (options: Partial<ChildOptions>) => {
    const child = await startRelayProcess({ url: database.url, file, leaseMs: 300, batchSize: 8, slowMs: 0, ...options })
    expect(await child.ended).toBe('SIGKILL')
    const pending = new Set((await bench.rows()).filter(({ status }) => status === 'pending').map(({ id }) => id))
    const published = new Set(readDeliveries(file).map(({ id }) => id))
    return new Set([...published].filter((id) => pending.has(id)))
  }
  const deliverTheRest = async () => {
    const relay = bench.outbox.relay({
      publisher: {
        name: 'file',
        publish: async (wave) => {
          for (const { id, orderingKey: key, payload } of wave) appendFileSync(file, `${JSON.stringify({ id, key, payload })}\n`)
          return wave.map(() => ({ status: 'published' }) as const)
        },
      },
      batchSize: 8,
      pollInterval: { min: 5, max: 50 },
    })
    await relay.drain()
  }
  const repeated = () => {
    const all = readDeliveries(file).map(({ id }) => id)
    return new Set(all.filter((id, index) => all.indexOf(id) !== index))
  }

  test.each(Object.keys(steps))('%s: nothing is lost, and only what had no mark is repeated', async (step) => {
    const unmarked = await killOne(steps[step] as Partial<ChildOptions>)
    await deliverTheRest()
    expect(new Set(readDeliveries(file).map(({ id }) => id))).toEqual(new Set(ids))
    expect(findInversion(readDeliveries(file))).toBeUndefined()
    expect(repeated()).toEqual(unmarked)
    expect((await bench.rows()).every(({ status, attempts }) => status === 'published' && attempts === 0)).toBe(true)
  })

  test.each(Object.entries({ ...settling, ...(dialect === 'sqlite' ? settlingOnSqlite : {}) }))(
    '%s: the failure is forgotten, and the event is not',
    async (_, { failpoint, as }) => {
      const unmarked = await killOne({ failpoint, fail: { payload: 2, as } })
      await deliverTheRest()
      expect(new Set(readDeliveries(file).map(({ id }) => id))).toEqual(new Set(ids))
      expect(findInversion(readDeliveries(file))).toBeUndefined()
      expect(repeated()).toEqual(unmarked)
      const rows = await bench.rows()
      expect(rows).toHaveLength(ids.length)
      expect(rows.every(({ status, attempts }) => status === 'published' && attempts === 0)).toBe(true)
      expect(await bench.sql('select id from outbox_dead_letters')).toEqual([])
    },
  )

  const lettersStand = async () => {
    const failpoint = { statement: 'insert into outbox_dead_letters', when: 'after' } as const
    await killOne({ failpoint, fail: { payload: 2, as: 'permanent' } })
    const letters = await bench.sql<{ id: string }>('select id from outbox_dead_letters')
    expect(letters.length).toBeGreaterThan(0)
    await deliverTheRest()
    const lettersAndRows = [...letters, ...(await bench.rows())].map(({ id }) => id)
    expect(lettersAndRows.sort()).toEqual([...ids].sort())
    expect(new Set(readDeliveries(file).map(({ id }) => id))).toEqual(new Set((await bench.rows()).map(({ id }) => id)))
    // Without the letter, which its key does not wait for.
    for (const key of ['a', 'b', 'c', 'd', 'e', 'f']) {
      const payloads = readDeliveries(file).flatMap((each) => (each.key === `Note:${key}` ? [Number(each.payload)] : []))
      const first = [...new Set(payloads)]
      expect(first).toEqual(first.toSorted((one, other) => one - other))
    }
  }
  if (dialect === 'postgresql') test('after the letter: it stands, once, in place of its event', lettersStand)

  test.each(['between two probes', 'while it probes'])(
    '%s of a publisher that is away: nothing is blamed',
    { timeout: 60_000 },
    async (moment) => {
      const fail = { payload: 0, as: 'unavailable', afterMs: 500 } as const
      const child = await startRelayProcess({ url: database.url, file, leaseMs: 2000, batchSize: 8, slowMs: 0, fail })
      const tries = () => child.messages.filter((message) => message === 'failing').length
      // The first try is a wave of six events, the second a probe of one.
      await expect.poll(tries, { timeout: 20_000, interval: 5 }).toBe(7)
      // The note that nothing is in hand is written a moment after the outcome.
      if (moment === 'between two probes') await delay(fail.afterMs + 200)
      child.signal('SIGKILL')
      await child.ended
      expect(readDeliveries(file)).toEqual([])
      await deliverTheRest()
      expect(
        readDeliveries(file)
          .map(({ id }) => id)
          .sort(),
      ).toEqual([...ids].sort())
      const rows = await bench.rows()
      expect(rows.every(({ status, attempts }) => status === 'published' && attempts === 0)).toBe(true)
      expect(await bench.sql('select * from outbox_failures')).toEqual([])
    },
  )
})
