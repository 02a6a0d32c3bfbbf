import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { OutboxEvent } from '../../../src/outbox/publishing/publisher.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../../support/databases.ts'
import { type OutboxUnderTest, openOutbox } from '../../support/outbox-bench.ts'
import { findInversion, readDeliveries, startRelayProcess } from '../../support/relay-process.ts'

const many = 20_000

describe.each(dialects)('a relay on %s', (dialect) => {
  let database: TestDatabase
  let bench: OutboxUnderTest
  let seen: OutboxEvent[]
  const collect = (event: OutboxEvent) => void seen.push(event)
  const payloads = (key: string) => seen.filter(({ aggregateId }) => aggregateId === key).map(({ payload }) => payload)

  beforeEach(async () => {
    seen = []
    database = await openTestDatabase(dialect)
    bench = await openOutbox(database.url)
  })
  afterEach(async () => {
    await bench.close()
    await database.close()
  })

  test('delivers all events of one large transaction, in order', { timeout: 120_000 }, async () => {
    const ids = await bench.record(
      'a',
      Array.from({ length: many }, (_, n) => n),
    )
    await bench.outbox.relay({ publisher: { name: 'p', publish: adapt(collect) } }).drain()
    expect(seen.map(({ id }) => id)).toEqual(ids)
  })

  test('leaves keys blocked that its predecessor blocked, and frees them when the letter is gone', async () => {
    await bench.record('a', [0, 1])
    await bench.record('b', [0])
    const options = { onDeadLetter: 'block-key', pollInterval: { min: 5, max: 20 } } as const
    const refuse = ({ payload, aggregateId }: OutboxEvent) => {
      if (aggregateId === 'a' && payload === 0) throw new Error('no')
    }
    await bench.outbox.relay({ publisher: { name: 'p', publish: adapt(refuse) }, ...options }).drain()
    const next = await openOutbox(database.url)
    const relay = next.outbox.relay({ publisher: { name: 'p', publish: adapt(collect) }, ...options })
    await bench.record('c', [0])
    await relay.drain()
    expect(payloads('c')).toEqual([0])
    expect(payloads('a')).toEqual([])
    const [letter] = await next.outbox.deadLetters.list()
    await next.outbox.deadLetters.redrive({ ids: [letter?.id as string] })
    await relay.drain()
    expect(payloads('a')).toEqual([0, 1])
    await next.close()
  })

  test.each([-300_000, 300_000])(
    'works beside another whose clock is off by %i ms, and takes over from it',
    { timeout: 120_000 },
    async (clockOffsetMs) => {
      const folder = mkdtempSync(join(tmpdir(), 'data-access-relay-'))
      const file = join(folder, 'published.jsonl')
      const child = await startRelayProcess({ url: database.url, file, leaseMs: 600, batchSize: 20, slowMs: 1, clockOffsetMs })
      const other = await startRelayProcess({ url: database.url, file, leaseMs: 600, batchSize: 20, slowMs: 1 })
      const keys = Array.from({ length: 8 }, (_, n) => `k${n}`)
      for (let n = 0; n < 20; n++) for (const key of keys) await bench.record(key, [n])
      child.signal('SIGKILL')
      await child.ended
      const pending = () => bench.rows().then((rows) => rows.filter(({ status }) => status === 'pending').length)
      await expect.poll(pending, { timeout: 60_000 }).toBe(0)
      await other.stop()
      expect(findInversion(readDeliveries(file))).toBeUndefined()
      expect(new Set(readDeliveries(file).map(({ id }) => id)).size).toBe(160)
      // Nobody was taken for dead who lived: at most the batch of the killed one came twice.
      expect(readDeliveries(file).length).toBeLessThanOrEqual(180)
      rmSync(folder, { recursive: true, force: true })
    },
  )

  test('makes a dead letter of a row that cannot be decoded, and goes on', async () => {
    await bench.record('a', [0, 1, 2])
    const [row] = await bench.rows()
    // Each database refuses JSON that is none where it can: what SQLite takes, and what only the event's schema refuses.
    await bench.sql(
      `update domain_events set ${dialect === 'sqlite' ? "payload = '{broken'" : "payload = '{}', event_type = 'NoteWritten'"} where id = ?`,
      [row?.id],
    )
    await bench.outbox.relay({ publisher: { name: 'p', publish: adapt(collect) } }).drain()
    expect(payloads('a')).toEqual([1, 2])
    const letters = await bench.outbox.deadLetters.list()
    expect(letters).toMatchObject([{ id: row?.id }])
  })
})

describe('a relay on SQLite', () => {
  test('waits while another process holds the write lock, and repeats nothing', { timeout: 60_000 }, async () => {
    const database = await openTestDatabase('sqlite')
    const bench = await openOutbox(database.url)
    const seen: OutboxEvent[] = []
    await bench.record('a', [0, 1, 2])
    const relay = bench.outbox.relay({ publisher: (event) => void seen.push(event), pollInterval: { min: 5, max: 50 } })
    await relay.start()
    await expect.poll(() => relay.status().published, { timeout: 5000 }).toBe(3)
    await bench.record('a', [3, 4])
    // Longer than the 5 s that the driver waits by itself.
    const holder = spawn(process.execPath, [
      '-e',
      `const { DatabaseSync } = require('node:sqlite'); const db = new DatabaseSync(process.argv[1]); db.exec('pragma busy_timeout = 5000; begin immediate'); console.log('held'); setTimeout(() => { db.exec('rollback') }, 7000)`,
      database.url.replace('sqlite:', ''),
    ])
    await Promise.race([once(holder.stdout, 'data'), once(holder, 'exit')])
    expect(holder.exitCode).toBeNull()
    await once(holder, 'exit')
    await bench.record('a', [5])
    await expect.poll(() => relay.status().published, { timeout: 20_000 }).toBe(6)
    expect(seen.map(({ payload }) => payload)).toEqual([0, 1, 2, 3, 4, 5])
    expect((await bench.rows()).every(({ status, attempts }) => status === 'published' && attempts === 0)).toBe(true)
    await relay.stop()
    await bench.close()
    await database.close()
  })
})

/** A publisher of a function that names itself the same in every process. */
function adapt(publish: (event: OutboxEvent) => void) {
  return async (wave: readonly OutboxEvent[]) =>
    wave.map((event) => {
      try {
        publish(event)
        return { status: 'published' } as const
      } catch (error) {
        return { status: 'permanent', error } as const
      }
    })
}
