import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { dialects } from '../../support/databases.ts'
import { outboxGround } from '../../support/outbox-ground.ts'

const runs = process.env.SOAK === '1' ? 5000 : 150
const minuteMs = 60_000

/** Pending events of one key that are recorded one after another; times in minutes from now. */
const stretch = fc.record({
  key: fc.constantFrom('a', 'a', 'b', 'c', null),
  count: fc.constantFrom(1, 1, 25, 60),
  available: fc.constantFrom(null, null, -20, -20, -5, 30, 30),
  attempts: fc.constantFrom(0, 1),
})
type Stretch = typeof stretch extends fc.Arbitrary<infer T> ? T : never
const backlog = fc.record({
  stretches: fc.array(stretch, { minLength: 1, maxLength: 8 }),
  held: fc.subarray(['a', 'b', 'e']),
  buckets: fc.constantFrom(1, 2),
})

/** The figures as their words define them, event by event. */
function expected(stretches: readonly Stretch[], held: readonly string[]) {
  const events = stretches.flatMap((each, at) => {
    return Array.from({ length: each.count }, () => ({ ...each, since: Math.max(at - 100, each.available ?? -1000) }))
  })
  const due = events.filter(({ key, available }, at) => {
    const behind = key !== null && events.slice(0, at).some((earlier) => earlier.key === key && earlier.available !== null)
    return (available ?? 0) <= 0 && !behind && (key === null || !held.includes(key))
  })
  const waiting = events.filter(({ available }) => (available ?? 0) > 0)
  const failed = waiting.flatMap(({ key, attempts }) => (key !== null && attempts > 0 ? [key] : []))
  return {
    backlog: events.length,
    oldestMinutes: Math.max(0, ...due.map(({ since }) => -since)),
    delayed: waiting.filter(({ attempts }) => attempts === 0).length,
    blockedKeys: new Set([...failed, ...held]).size,
    deadLetters: held.length,
  }
}

describe.each(dialects)('the figures of an outbox on %s', (dialect) => {
  const ground = outboxGround(dialect)
  const fromNow = (minutes: number | null) => {
    if (minutes === null) return 'null'
    const ms = minutes * minuteMs
    return dialect === 'postgresql'
      ? `now() + interval '${ms} milliseconds'`
      : `cast(unixepoch('subsec') * 1000 as integer) + ${ms}`
  }
  const newId = dialect === 'postgresql' ? 'gen_random_uuid()' : 'lower(hex(randomblob(16)))'

  test('are what counting event by event gives, however deep the events are that tell', {
    timeout: 60_000 + runs * 200,
  }, async () => {
    const { bench } = ground
    const store = async (stretches: readonly Stretch[], buckets: number) => {
      let sequence = 0
      for (const [at, { key, count, available, attempts }] of stretches.entries()) {
        const bucket = (key?.charCodeAt(0) ?? 0) % buckets
        const rows = Array.from(
          { length: count },
          () =>
            `(${newId}, 't', 'T', '1', '{}', '{}', ${key === null ? 'null' : `'${key}'`}, ${bucket}, ${fromNow(0)}, ${fromNow(at - 100)}, ${++sequence}, ${fromNow(available)}, ${attempts})`,
        )
        await bench.sql(
          `insert into domain_events (id, event_type, aggregate_type, aggregate_id, payload, headers, ordering_key, bucket, created_at, updated_at, sequence, available_at, attempts) values ${rows}`,
        )
      }
    }
    const hold = async (key: string) => {
      await bench.sql(
        `insert into outbox_dead_letters (id, event_type, aggregate_type, aggregate_id, payload, headers, sequence, ordering_key, bucket, schema_version, created_at, attempts, reason, error, history, blocks_key, dead_at)
        values (${newId}, 't', 'T', '1', '{}', '{}', 0, '${key}', 0, 1, ${fromNow(0)}, 1, 'permanent', 'no', '[]', true, ${fromNow(0)})`,
      )
    }
    await fc.assert(
      fc.asyncProperty(backlog, async ({ stretches, held, buckets }) => {
        for (const table of ['domain_events', 'outbox_dead_letters']) await bench.sql(`delete from ${table}`)
        await store(stretches, buckets)
        for (const key of held) await hold(key)
        const { oldestDueAgeMs, rates, relays, ...figures } = await bench.outbox.stats()
        expect({ ...figures, oldestMinutes: Math.floor((oldestDueAgeMs + 1) / minuteMs) }).toEqual(expected(stretches, held))
      }),
      { numRuns: runs },
    )
  })
})
