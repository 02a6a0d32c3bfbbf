import { setTimeout as delay } from 'node:timers/promises'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import { placeKey } from '../../../src/outbox/event/ordering-key.ts'
import { permanent } from '../../../src/outbox/publishing/publisher.ts'
import { dialects } from '../../support/databases.ts'
import { outboxGround } from '../../support/outbox-ground.ts'

const hourMs = 3_600_000

describe.each(dialects)('the age of what is due on %s', (dialect) => {
  const ground = outboxGround(dialect)
  const ago = (ms: number) =>
    dialect === 'postgresql' ? `now() - interval '${ms} milliseconds'` : `cast(unixepoch('subsec') * 1000 as integer) - ${ms}`
  const age = async () => (await ground.bench.outbox.stats()).oldestDueAgeMs
  /** Records an event for each, long ago, that may be published since so many ms. */
  const record = async (...dueMs: (number | undefined)[]) => {
    for (const [n, ms] of dueMs.entries()) {
      const [id] = await ground.bench.record(`${n}`, [n])
      const due = ms === undefined ? 'null' : ago(ms)
      await ground.bench.sql(`update domain_events set updated_at = ${ago(hourMs)}, available_at = ${due} where id = ?`, [id])
    }
  }
  let near: (ms: number) => Promise<void>
  beforeEach(() => {
    near = async (ms) => {
      const found = await age()
      // Moments are stored in whole milliseconds.
      expect(found).toBeGreaterThanOrEqual(ms - 1)
      expect(found).toBeLessThan(ms + 30_000)
    }
  })

  test('counts from the record of an event that waits for no time', async () => {
    await record(undefined)
    await near(hourMs)
  })

  /** Records an event on a machine whose clock is off. */
  const recordOff = async (key: string, ms: number) => {
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + ms })
    try {
      await ground.bench.record(key, [1])
    } finally {
      vi.useRealTimers()
    }
  }

  test.each([
    ['slow', -300_000],
    ['fast', 300_000],
  ] as const)('is told by the clock of the database, where that of the writer is five minutes %s', async (_, ms) => {
    await recordOff('a', ms)
    await near(0)
    await delay(1100)
    await near(1000)
    const doctor = await ground.bench.outbox.doctor()
    expect(doctor.find(({ check }) => check === 'oldest-due')).toMatchObject({ ok: true })
  })

  test('counts from the event that waits longest, whatever the writers of others believe', async () => {
    await record(undefined)
    for (const key of ['0', 'other']) for (const ms of [-2 * hourMs, 2 * hourMs]) await recordOff(key, ms)
    await near(hourMs)
  })

  test('counts from the time of a delayed event, or of a next try', async () => {
    await record(1000, -hourMs, 60_000)
    await near(60_000)
    const doctor = await ground.bench.outbox.doctor({ oldestDueMs: 100_000 })
    expect(doctor.find(({ check }) => check === 'oldest-due')).toMatchObject({ ok: true })
  })

  test('is the greater of both', async () => {
    await record(1000, undefined, 500)
    await near(hourMs)
  })

  test('is the record of an event whose time came before it', async () => {
    await record(2 * hourMs)
    await near(hourMs)
  })

  test('leaves out a due event behind a head that waits', async () => {
    await ground.bench.record('a', [1, 2])
    await ground.bench.sql(`update domain_events set updated_at = ${ago(hourMs)}, available_at = ${ago(-hourMs)}`)
    const last = 'where sequence = (select max(sequence) from domain_events)'
    await ground.bench.sql(`update domain_events set available_at = ${ago(60_000)} ${last}`)
    expect(await age()).toBe(0)
  })

  test('counts from a due event far behind what a head holds in the same bucket', async () => {
    const { bench } = ground
    const held = Array.from({ length: 50 }, (_, n) => n)
    await bench.record('a', held)
    await bench.sql(`update domain_events set updated_at = ${ago(2 * hourMs)}`)
    const head = 'where sequence = (select min(sequence) from domain_events)'
    await bench.sql(`update domain_events set available_at = ${ago(-hourMs)} ${head}`)
    expect(await age()).toBe(0)
    const bucketOf = (key: string) => placeKey(`Note:${key}`).bucket
    const beside = Array.from({ length: 1000 }, (_, n) => `beside ${n}`).find((key) => bucketOf(key) === bucketOf('a')) as string
    for (const key of [beside, 'a', beside]) await bench.record(key, [1])
    await bench.sql(`update domain_events set updated_at = ${ago(hourMs)} where aggregate_id = ?`, [beside])
    await near(hourMs)
    // As behind a letter that was redriven: it is due since then, and the one behind it no longer.
    const redriven = 'where sequence = (select min(sequence) from domain_events where aggregate_id = ?)'
    await bench.sql(`update domain_events set updated_at = ${ago(60_000)}, available_at = ${ago(60_000)} ${redriven}`, [beside])
    await near(60_000)
    // And before one of its key that has a time it is due all the same.
    const later = 'where sequence = (select max(sequence) from domain_events where aggregate_id = ?)'
    await bench.sql(`update domain_events set available_at = null ${redriven}`, [beside])
    await bench.sql(`update domain_events set available_at = ${ago(-hourMs)} ${later}`, [beside])
    await near(60_000)
  })

  test('counts from a due event whose time came after that of many which a head holds', async () => {
    const { bench } = ground
    const heldBy = async (key: string, ms: number) => {
      await bench.record(
        key,
        Array.from({ length: 30 }, (_, n) => n),
      )
      await bench.sql(`update domain_events set available_at = ${ago(2 * hourMs)} where aggregate_id = ?`, [key])
      const head = 'where sequence = (select min(sequence) from domain_events where aggregate_id = ?)'
      await bench.sql(`update domain_events set available_at = ${ago(ms)} ${head}`, [key])
    }
    await heldBy('a', -hourMs)
    await bench.sql(`update domain_events set updated_at = ${ago(2 * hourMs)}`)
    expect(await age()).toBe(0)
    await record(120_000)
    await near(120_000)
    await heldBy('b', hourMs)
    await bench.sql(`update domain_events set updated_at = ${ago(2 * hourMs)}`)
    await near(hourMs)
  })

  test('is no greater for what comes behind a head that is tried again', async () => {
    await ground.bench.record('a', [1, 2])
    const head = 'where sequence = (select min(sequence) from domain_events)'
    await ground.bench.sql(`update domain_events set updated_at = ${ago(hourMs)}`)
    await ground.bench.sql(`update domain_events set attempts = 1, available_at = ${ago(1000)} ${head}`)
    await near(1000)
    // A drain elsewhere waits for it all the same.
    const drained = await ground.openBeside()
    expect(await drained.outbox.relay({ publisher: () => {} }).drain()).toMatchObject({ published: 2 })
    await drained.close()
    expect(await age()).toBe(0)
  })

  test('counts from the redrive of a letter, also for what that held', async () => {
    const { bench } = ground
    await bench.record('a', [1, 2])
    await bench.outbox
      .relay({
        publisher: () => {
          throw permanent(new Error('no'))
        },
        onDeadLetter: 'block-key',
      })
      .drain()
    await bench.sql(`update domain_events set updated_at = ${ago(hourMs)}`)
    await bench.sql(`update outbox_dead_letters set created_at = ${ago(hourMs)}`)
    expect(await age()).toBe(0)
    expect(await bench.outbox.deadLetters.redrive({ aggregateId: 'a' })).toBe(1)
    await near(0)
  })
})
