import { describe, expect, test } from 'vitest'
import { permanent } from '../../../src/outbox/publishing/publisher.ts'
import { makeDue } from '../../../src/testing/make-due.ts'
import { MemoryPublisher } from '../../../src/testing/memory-publisher.ts'
import { dialects } from '../../support/databases.ts'
import { letterGround } from '../../support/letter-ground.ts'

describe.each(dialects)('the figures of an outbox and its pruning on %s', (dialect) => {
  const ground = letterGround(dialect)
  const { bad, drain } = ground

  test('the figures tell backlog, age, blocked keys, letters and relays', async () => {
    expect(await ground.bench.outbox.stats()).toEqual({
      backlog: 0,
      oldestDueAgeMs: 0,
      delayed: 0,
      blockedKeys: 0,
      deadLetters: 0,
      rates: { published: 0, retried: 0, deadLettered: 0 },
      relays: [],
    })
    await ground.bench.record('a', [1, 2])
    await ground.bench.record('later', [3], { availableAt: new Date(Date.now() + 60_000) })
    await ground.bench.record('later', [4])
    await ground.bench.record('due', [5])
    await ground.bench.sql(
      `update domain_events set updated_at = ${dialect === 'sqlite' ? 'updated_at - 5000' : "updated_at - interval '5 seconds'"} where aggregate_id = 'due'`,
    )
    const before = await ground.bench.outbox.stats()
    expect(before).toMatchObject({ backlog: 5, delayed: 1, blockedKeys: 0 })
    expect(before.oldestDueAgeMs).toBeGreaterThanOrEqual(5000)
    const relay = ground.bench.outbox.relay({ publisher: ground.publisher, onDeadLetter: 'block-key', name: 'figures' })
    await relay.start()
    await expect.poll(() => relay.status().published).toBe(1)
    await expect.poll(() => relay.status().deadLettered).toBe(1)
    expect(await ground.bench.outbox.stats()).toMatchObject({
      backlog: 3,
      oldestDueAgeMs: 0,
      delayed: 1,
      blockedKeys: 1,
      deadLetters: 1,
      relays: [{ name: 'figures', publisher: 'memory', buckets: 64 }],
    })
    await relay.stop()
  })

  test('the figures count a key that a letter holds and that waits for its time once', async () => {
    await ground.bench.record('a', [1])
    const refusing = () => {
      throw permanent(new Error('bad'))
    }
    await ground.bench.outbox.relay({ publisher: refusing, onDeadLetter: 'block-key' }).drain()
    const later = { availableAt: new Date(Date.now() + 60_000) }
    await ground.bench.record('a', [2, 3], later)
    expect(await ground.bench.outbox.stats()).toMatchObject({ backlog: 2, delayed: 2, blockedKeys: 1, deadLetters: 1 })
    await ground.bench.sql("update domain_events set attempts = 1 where aggregate_id = 'a'")
    expect(await ground.bench.outbox.stats()).toMatchObject({ backlog: 2, delayed: 0, blockedKeys: 1 })
    await ground.bench.record('b', [4, 5])
    const failing = () => {
      throw new Error('not now')
    }
    await ground.bench.outbox.relay({ publisher: failing, retry: { baseMs: 3_600_000, maxMs: 3_600_000 } }).drain()
    expect(await ground.bench.outbox.stats()).toMatchObject({ backlog: 4, delayed: 0, blockedKeys: 2, deadLetters: 1 })
  })

  test('a test makes due what waits for its time or its next try', async () => {
    const later = { availableAt: new Date(Date.now() + 3_600_000) }
    await ground.bench.record('a', [2, 3], later)
    await ground.bench.record('b', [4])
    const failing = () => {
      throw new Error('not now')
    }
    const retry = { baseMs: 3_600_000, maxMs: 3_600_000 }
    expect(await ground.bench.outbox.relay({ publisher: failing, retry }).drain()).toMatchObject({ retried: 1 })
    expect(await drain()).toMatchObject({ published: 0 })
    expect(await makeDue(ground.bench.data)).toBe(3)
    expect(await makeDue(ground.bench.data)).toBe(0)
    expect(await drain()).toMatchObject({ published: 3 })
  })

  test('the figures tell how fast relays are, as of their last sign of life', async () => {
    await ground.bench.record('a', [1, 3])
    await ground.bench.record('b', [2])
    const relay = ground.bench.outbox.relay({ publisher: ground.publisher, lease: 300, publishTimeout: 100 })
    await relay.start()
    await expect.poll(() => relay.status().published + relay.status().deadLettered).toBe(3)
    expect(relay.status().rates).toMatchObject({ retried: 0 })
    expect(relay.status().rates.published).toBeGreaterThan(0)
    const rates = async () => (await ground.bench.outbox.stats()).rates
    await expect.poll(async () => (await rates()).published, { timeout: 10_000 }).toBeGreaterThan(0)
    expect((await rates()).deadLettered).toBeGreaterThan(0)
    expect((await ground.bench.outbox.stats()).relays).toMatchObject([{ rates: { retried: 0 }, buckets: 64 }])
    await relay.stop()
    expect(await rates()).toEqual({ published: 0, retried: 0, deadLettered: 0 })
  })

  test('failures of events that are no longer pending are pruned, by a relay and by hand', async () => {
    await ground.bench.record('a', [2])
    await drain()
    const [pending] = await ground.bench.record('b', [3], { availableAt: new Date(Date.now() + 60_000) })
    const fail = (attempt: number) =>
      ground.bench.sql(
        "insert into outbox_failures (event_id, attempt, failed_at, error) select id, ?, created_at, 'no' from domain_events",
        [attempt],
      )
    const failures = async () => {
      const rows = await ground.bench.sql<{ event_id: string }>('select event_id from outbox_failures order by attempt')
      return rows.map((row) => row.event_id)
    }
    await fail(1)
    const relay = ground.bench.outbox.relay({ publisher: ground.publisher })
    await relay.start()
    await expect.poll(failures).toEqual([pending])
    await relay.stop()
    await fail(2)
    expect(await ground.bench.outbox.prune({ keepMs: 60_000 })).toBe(0)
    expect(await failures()).toEqual([pending, pending])
  })

  test('published rows are pruned after their time, and pending ones never', async () => {
    await ground.bench.record('a', [2, 3])
    await drain()
    await ground.bench.record('a', [4])
    expect(await ground.bench.outbox.prune({ keepMs: 60_000 })).toBe(0)
    const relay = ground.bench.outbox.relay({
      publisher: ground.publisher,
      retention: { keepMs: 0 },
      pollInterval: { min: 60_000, max: 60_000 },
    })
    await relay.start()
    await expect.poll(async () => (await ground.bench.rows()).length).toBeLessThanOrEqual(1)
    await expect.poll(() => ground.publisher.payloads).toEqual([2, 3, 4])
    await relay.stop()
    expect(await ground.bench.outbox.prune({ keepMs: 0 })).toBeLessThanOrEqual(1)
    expect(await ground.bench.rows()).toEqual([])
  })

  test('pruning does not look at what was recorded too late to be old', async () => {
    await ground.bench.record('a', [2, 3])
    await drain()
    // Published rows that say so are not even read: only a clock that is wrong makes them.
    await ground.bench.sql(`update domain_events set published_at = ${dialect === 'sqlite' ? '0' : "'2020-01-01'"}`)
    expect(await ground.bench.outbox.prune({ keepMs: 60_000 })).toBe(0)
    await ground.bench.sql(`update domain_events set created_at = ${dialect === 'sqlite' ? '0' : "'2020-01-01'"}`)
    expect(await ground.bench.outbox.prune({ keepMs: 60_000 })).toBe(2)
  })

  test('a relay with another publisher is refused while one runs, and may start when it has stopped', async () => {
    const other = await ground.openBeside()
    const first = ground.bench.outbox.relay({ publisher: ground.publisher })
    await first.start()
    const second = other.outbox.relay({ publisher: new MemoryPublisher(undefined, 'elsewhere') })
    await expect(second.start()).rejects.toMatchObject({ code: 'RELAY_PUBLISHER_MISMATCH' })
    await first.stop()
    await second.start()
    await other.close()
  })

  test('many events behind a blocked key, and many that are delayed, hold nobody up', async () => {
    const many = Array.from({ length: 3000 }, (_, n) => n + 10)
    await ground.bench.record('blocked', [1, ...many])
    await ground.bench.record('delayed', [1], { availableAt: new Date(Date.now() + 600_000) })
    await ground.bench.record('delayed', many)
    await ground.bench.record('free', [2, 3, 4])
    const relay = ground.bench.outbox.relay({
      publisher: ground.publisher,
      onDeadLetter: 'block-key',
      batchSize: 20,
      pollInterval: { min: 5, max: 20 },
    })
    await relay.start()
    await expect.poll(() => ground.publisher.payloads, { timeout: 20_000 }).toEqual([2, 3, 4])
    for (const [n, key] of ['free', 'new', 'free'].entries()) await ground.bench.record(key, [5 + n])
    await expect.poll(() => ground.publisher.payloads.length, { timeout: 20_000 }).toBe(6)
    bad.clear()
    await ground.bench.outbox.deadLetters.redrive({ aggregateId: 'blocked' })
    await expect.poll(() => ground.publisher.payloads.length, { timeout: 20_000 }).toBe(3007)
    await relay.stop()
    expect(ground.publisher.published.filter((event) => event.aggregateId === 'blocked').map((event) => event.payload)).toEqual([
      1,
      ...many,
    ])
  })
})
