import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { permanent } from '../../../src/outbox/publishing/publisher.ts'
import { MemoryPublisher } from '../../../src/testing/memory-publisher.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../../support/databases.ts'
import type { Failpoint } from '../../support/failpoint.ts'
import { type OutboxUnderTest, openOutbox } from '../../support/outbox-bench.ts'
import { moving, type Step, taking } from '../../support/relay-failpoints.ts'
import { startRelayProcess } from '../../support/relay-process.ts'

const discarding = ['after the letters are chosen', 'after the removal', 'while the commit is on its way', 'after the commit']

describe.each(dialects)('on %s', (dialect) => {
  let database: TestDatabase
  let bench: OutboxUnderTest
  let folder: string
  let bad: Set<unknown>
  let publisher: MemoryPublisher

  beforeEach(async () => {
    database = await openTestDatabase(dialect)
    bench = await openOutbox(database.url)
    folder = mkdtempSync(join(tmpdir(), 'data-access-relay-'))
    bad = new Set()
    publisher = new MemoryPublisher((event) => (bad.has(event.payload) ? permanent(new Error('no')) : undefined), 'file')
  })
  afterEach(async () => {
    await bench.close()
    await database.close()
    rmSync(folder, { recursive: true, force: true })
  })

  test.each(Object.keys(taking))(
    'a relay that takes a dead one is killed %s: the crash counts once, and nothing is lost',
    { timeout: 60_000 },
    async (step) => {
      const ids = await bench.record('a', [0, 1, 2])
      const relay = { url: database.url, file: join(folder, 'published.jsonl'), leaseMs: 300, batchSize: 1, slowMs: 0 }
      const first = await startRelayProcess({ ...relay, killBefore: 0 })
      expect(await first.ended).toBe('SIGKILL')
      const taker = await startRelayProcess({ ...relay, killBefore: 0, failpoint: taking[step] as Failpoint })
      expect(await taker.ended).toBe('SIGKILL')
      await bench.outbox.relay({ publisher }).drain()
      expect(publisher.published.map(({ id }) => id)).toEqual(ids)
      expect((await bench.rows()).map(({ status, attempts }) => [status, attempts])).toEqual([
        ['published', 1],
        ['published', 0],
        ['published', 0],
      ])
      const failures = await bench.sql<{ event_id: string; attempt: number }>('select event_id, attempt from outbox_failures')
      expect(failures).toEqual([{ event_id: ids[0], attempt: 1 }])
    },
  )

  const letters = async () => (await bench.outbox.deadLetters.list()).map(({ id }) => id)
  const pending = async () => (await bench.rows()).filter(({ status }) => status === 'pending').map(({ id }) => id)
  const endOf = async (verb: 'redrive' | 'discard', failpoint: Failpoint) => {
    const script = fileURLToPath(new URL('../../support/letters-in-child.ts', import.meta.url))
    const child = fork(script, [database.url, verb, JSON.stringify(failpoint)], { execArgv: [] })
    const [, signal] = await once(child, 'exit')
    expect(signal).toBe('SIGKILL')
    // PostgreSQL needs a moment to notice, and may carry out what was sent.
    await delay(100)
  }

  test.each(Object.keys(moving))('who redrives is killed %s: a letter is here or there, and comes first', async (step) => {
    const { failpoint, committed } = moving[step] as Step
    bad.add(0)
    const ids = await bench.record('a', [0, 1, 2])
    await bench.outbox.relay({ publisher, onDeadLetter: 'block-key' }).drain()
    expect(await letters()).toEqual([ids[0]])
    await endOf('redrive', failpoint)
    const back = (await letters()).length === 0
    if (committed !== undefined) expect(back).toBe(committed)
    expect(await pending()).toEqual(back ? ids : ids.slice(1))
    bad.clear()
    if (!back) expect(await bench.outbox.deadLetters.redrive({ aggregateId: 'a' })).toBe(1)
    await bench.outbox.relay({ publisher }).drain()
    expect(publisher.published.map(({ id }) => id)).toEqual(ids)
  })

  test.each(discarding)('who discards is killed %s: a letter is here or gone, and its key waits or goes on', async (step) => {
    const { failpoint, committed } = moving[step] as Step
    bad.add(0)
    const ids = await bench.record('a', [0, 1])
    const drain = () => bench.outbox.relay({ publisher, onDeadLetter: 'block-key' }).drain()
    await drain()
    await endOf('discard', failpoint)
    const gone = (await letters()).length === 0
    if (committed !== undefined) expect(gone).toBe(committed)
    await drain()
    expect(publisher.published.map(({ id }) => id)).toEqual(gone ? ids.slice(1) : [])
    if (!gone) await bench.outbox.deadLetters.discard({ aggregateId: 'a' })
    await drain()
    expect(publisher.published.map(({ id }) => id)).toEqual(ids.slice(1))
  })
})

test('a relay that registers while letters are redriven publishes them before later events that wait', async () => {
  const database = await openTestDatabase('postgresql')
  const [redriver, bench] = [await openOutbox(database.url), await openOutbox(database.url)]
  const bad = new Set<unknown>([1])
  const publisher = new MemoryPublisher((event) => (bad.has(event.payload) ? permanent(new Error('no')) : undefined))
  await bench.record('a', [1])
  await bench.outbox.relay({ publisher }).drain()
  bad.clear()
  await bench.record('a', [2], { availableAt: new Date(Date.now() + 3_600_000) })
  const told = Promise.withResolvers<void>()
  const mayCommit = Promise.withResolvers<void>()
  redriver.data.orm.em.getEventManager().registerSubscriber({
    beforeTransactionCommit: async () => {
      told.resolve()
      await mayCommit.promise
    },
  })
  const redrive = redriver.outbox.deadLetters.redrive({ aggregateId: 'a' })
  await told.promise
  const relay = bench.outbox.relay({ publisher, pollInterval: { min: 5, max: 20 } })
  const started = relay.start()
  // Long enough to find the event that waits, if nothing held it up.
  await delay(500)
  mayCommit.resolve()
  expect(await redrive).toBe(1)
  await started
  await expect.poll(() => publisher.payloads, { timeout: 10_000 }).toEqual([1])
  await relay.stop()
  await bench.close()
  await redriver.close()
  await database.close()
})
