import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { createDataAccess, type DataAccess } from '../../../src/data-access.ts'
import { placeKey } from '../../../src/outbox/event/ordering-key.ts'
import type { Publisher } from '../../../src/outbox/publishing/publisher.ts'
import type { RelayOptions } from '../../../src/outbox/relay/relay-options.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../../support/databases.ts'
import { MemoryLogger } from '../../support/memory-logger.ts'
import { NoteTagged, notes } from '../../support/notes-module.ts'
import { openOutbox } from '../../support/outbox-bench.ts'

const timing = { publishTimeout: 500, lease: 1500, pollInterval: { min: 5, max: 50 } }
const until = (condition: () => boolean | Promise<boolean>) => expect.poll(condition, { interval: 5, timeout: 20_000 }).toBe(true)

/** Publishes nothing before it may, and tells when it was asked to. */
class GatedPublisher implements Publisher {
  readonly name = 'gated'
  readonly seen: unknown[] = []
  readonly began = Promise.withResolvers<void>()
  readonly open = Promise.withResolvers<void>()

  readonly publish: Publisher['publish'] = async (events) => {
    this.began.resolve()
    await this.open.promise
    this.seen.push(...events.map(({ payload }) => payload))
    return events.map(() => ({ status: 'published' }))
  }
}

describe.each(dialects)('the life of a relay on %s', (dialect) => {
  let database: TestDatabase
  let data: DataAccess
  let logger: MemoryLogger
  let publisher: GatedPublisher

  beforeEach(async () => {
    database = await openTestDatabase(dialect)
    logger = new MemoryLogger()
    data = await createDataAccess({ modules: [notes], logger, database: { url: database.url } })
    await data.migrate()
    publisher = new GatedPublisher()
  })
  afterEach(async () => {
    await data.close()
    await database.close()
  })

  const record = (...payloads: unknown[]) =>
    data.unitOfWork(async ({ record }) => {
      for (const payload of payloads) record(NoteTagged, 'a', payload)
    })
  const relayOf = (options: Omit<RelayOptions, 'publisher'> = {}) => data.outbox.relay({ publisher, ...timing, ...options })
  /** Read by another data access, since the first may be closed. */
  const afterwards = async () => {
    const other = await openOutbox(database.url)
    const statuses = (await other.rows()).map(({ status }) => status)
    const owned = await other.sql('select 1 from outbox_leases where owner is not null')
    const relays = await other.sql('select 1 from outbox_relays')
    await other.close()
    return { statuses, left: owned.length + relays.length }
  }

  test.each(['stop', 'close'] as const)('%s() ends a drain once what is in hand is published and marked', async (how) => {
    await record(1, 2, 3)
    const relay = relayOf({ batchSize: 1 })
    const drained = relay.drain()
    const refused = expect(drained).rejects.toMatchObject({ code: 'CLOSED', context: { published: 1 } })
    await publisher.began.promise
    const ended = how === 'stop' ? relay.stop() : data.close()
    publisher.open.resolve()
    await Promise.all([ended, refused])
    expect(publisher.seen).toEqual([1])
    expect(await afterwards()).toEqual({ statuses: ['published', 'pending', 'pending'], left: 0 })
  })

  test('a drain that was stopped leaves its relay to be drained again', async () => {
    await record(1, 2)
    const relay = relayOf({ batchSize: 1 })
    const refused = expect(relay.drain()).rejects.toMatchObject({ code: 'CLOSED' })
    await publisher.began.promise
    const stopped = relay.stop()
    publisher.open.resolve()
    await stopped
    expect(await relay.drain()).toMatchObject({ published: 1 })
    await refused
    expect(publisher.seen).toEqual([1, 2])
  })

  test('a drain whose publisher hangs is left at the deadline of stop(), with the event pending and no attempt spent', async () => {
    await record(1)
    const relay = relayOf({ publishTimeout: 60_000, lease: 120_000 })
    const refused = expect(relay.drain()).rejects.toMatchObject({ code: 'CLOSED' })
    await publisher.began.promise
    await Promise.all([relay.stop({ deadline: 20 }), refused])
    expect(await data.fork().getConnection().execute('select status, attempts from domain_events')).toEqual([
      { status: 'pending', attempts: 0 },
    ])
    expect((await afterwards()).left).toBe(0)
  })

  test('a drain that waits for what another relay has in hand can be stopped', async () => {
    await record(1)
    const other = await openOutbox(database.url)
    onTestFinished(() => other.close())
    const first = other.outbox.relay({ publisher, ...timing })
    await first.start()
    await publisher.began.promise
    const relay = relayOf()
    const refused = expect(relay.drain()).rejects.toMatchObject({ code: 'CLOSED', context: { published: 0 } })
    await until(() => relay.status().buckets.length > 0)
    await Promise.all([relay.stop(), refused])
    publisher.open.resolve()
    await first.stop()
    expect(publisher.seen).toEqual([1])
  })

  test.each(['before', 'behind'])('close() %s a stop() waits for the batch in hand, as the stop does', async (when) => {
    await record(1)
    const relay = relayOf({ publishTimeout: 5000, lease: 15_000 })
    await relay.start()
    await publisher.began.promise
    const ends = when === 'before' ? [data.close(), relay.stop()] : [relay.stop(), data.close()]
    // Longer than what is dropped would be waited for.
    setTimeout(publisher.open.resolve, 200)
    await Promise.all(ends)
    expect(publisher.seen).toEqual([1])
    expect(await afterwards()).toEqual({ statuses: ['published'], left: 0 })
    expect(logger.warnings).toEqual([])
  })

  test('a second stop() still drops the batch at once, also beside close()', async () => {
    await record(1)
    const relay = relayOf({ publishTimeout: 60_000, lease: 120_000 })
    await relay.start()
    await publisher.began.promise
    const before = performance.now()
    await Promise.all([relay.stop(), data.close(), relay.stop()])
    expect(performance.now() - before).toBeLessThan(5000)
    expect((await afterwards()).statuses).toEqual(['pending'])
  })

  test('of two calls of start() at once the second waits for the first', async () => {
    publisher.open.resolve()
    const relay = relayOf()
    expect(await Promise.all([relay.start(), relay.start()])).toEqual([relay, relay])
    expect(relay.status().state).toBe('running')
    await record(1)
    await until(() => publisher.seen.length === 1)
    await relay.stop()
    await relay.start()
    expect(relay.status().state).toBe('running')
    await relay.stop()
  })

  test('where a start fails, all who called it hear why, and it may be started again', async () => {
    const failing = Object.assign(publisher, { prepare: () => Promise.reject(new Error('not yet')) })
    const relay = relayOf()
    const both = await Promise.allSettled([relay.start(), relay.start()])
    expect(both).toEqual(Array(2).fill({ status: 'rejected', reason: expect.objectContaining({ message: 'not yet' }) }))
    failing.prepare = () => Promise.resolve() as Promise<never>
    await relay.start()
    await relay.stop()
  })

  test.each(['start', 'drain', 'stop'] as const)(
    '%s() inside a transaction is refused instead of waiting for its end',
    async (door) => {
      publisher.open.resolve()
      const relay = relayOf()
      await data.unitOfWork(async ({ record }) => {
        record(NoteTagged, 'a', 1)
        await expect(relay[door]()).rejects.toMatchObject({
          code: 'TRANSACTION_FORK',
          message: expect.stringContaining(`${door}()`),
        })
      })
      expect(await relay.drain()).toMatchObject({ published: 1 })
    },
  )

  test('rows may be told to stay for up to ten years, and no longer', async () => {
    const tenYears = 10 * 365 * 86_400_000
    expect(await data.outbox.prune({ keepMs: tenYears })).toBe(0)
    const relay = relayOf({ retention: { keepMs: tenYears } })
    await relay.start()
    await relay.stop()
    expect(logger.warnings).toEqual([])
    for (const keepMs of [tenYears + 1, Number.MAX_SAFE_INTEGER]) {
      await expect(data.outbox.prune({ keepMs })).rejects.toMatchObject({ code: 'OPTION_INVALID' })
      expect(() => relayOf({ retention: { keepMs } })).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }))
    }
  })

  /** As if another relay had registered at the same time, and is seen only now. */
  const register = (name: string, startedAgoMs: number) => {
    const at = (ms: number) =>
      dialect === 'postgresql'
        ? `now() + ${ms} * interval '1 millisecond'`
        : `cast(unixepoch('subsec') * 1000 as integer) + ${ms}`
    return data
      .fork()
      .getConnection()
      .execute(`insert into outbox_relays (id, name, publisher, started_at, expires_at)
        values ('019c0000-0000-7000-8000-000000000001', '${name}', 'other', ${at(-startedAgoMs)}, ${at(60_000)})`)
  }

  test.each(['start', 'drain'] as const)(
    'after %s(), a relay that finds an older one with another publisher ends with what it has in hand',
    async (door) => {
      await record(1, 2)
      const relay = relayOf({ batchSize: 1, publishTimeout: 5000, lease: 12_000 })
      const drained = door === 'drain' ? relay.drain() : relay.start().then(() => undefined)
      const refused = door === 'drain' ? expect(drained).rejects.toMatchObject({ code: 'RELAY_PUBLISHER_MISMATCH' }) : drained
      await publisher.began.promise
      await register('older', 60_000)
      await until(() => relay.status().buckets.length === 0)
      publisher.open.resolve()
      await refused
      await until(() => relay.status().state !== 'running')
      expect(publisher.seen).toEqual([1])
      const rows = await data.fork().getConnection().execute('select status from domain_events order by sequence')
      expect(rows).toEqual([{ status: 'published' }, { status: 'pending' }])
      expect(logger.errors.map(({ message }) => message)).toEqual(
        door === 'start' ? [expect.stringMatching(/The relay ended: Relay "older".*RELAY_PUBLISHER_MISMATCH/)] : [],
      )
      await expect(relay.start()).rejects.toMatchObject({ code: 'RELAY_PUBLISHER_MISMATCH' })
      await relay.stop()
    },
  )

  test('a relay that finds a younger one with another publisher goes on', async () => {
    publisher.open.resolve()
    const relay = relayOf()
    await relay.start()
    await register('younger', -60_000)
    // It was seen: it gets its share.
    await until(() => relay.status().buckets.length === 32)
    const ours = Array.from({ length: 200 }, (_, n) => String(n)).find((key) => placeKey(`Note:${key}`).bucket < 32) as string
    await data.unitOfWork(async ({ record }) => void record(NoteTagged, ours, 1))
    await until(() => publisher.seen.length === 1)
    expect(relay.status().state).toBe('running')
    await relay.stop()
  })
})
