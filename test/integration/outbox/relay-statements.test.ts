import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { placeKey } from '../../../src/outbox/event/ordering-key.ts'
import { type OutboxEvent, permanent } from '../../../src/outbox/publishing/publisher.ts'
import type { RelayOptions } from '../../../src/outbox/relay/relay-options.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../../support/databases.ts'
import { type OutboxUnderTest, openOutbox } from '../../support/outbox-bench.ts'
import { failpointsOn } from '../../support/relay-failpoints.ts'
import { listStatements, type SentStatements } from '../../support/sent-statements.ts'

/** A death at a read leaves behind what one after the write before it does: the tests kill at those that change something. */
const changes = /^(insert|update|delete|with\b.*\b(insert into|update|delete from)\b|select \* from domain_events_fetch)/is

/** Marks what a test writes itself. Writers of events, who are killed by another test, draw their numbers by a table on SQLite. */
const own = '/* of the test */'
const notOfRelays = [own, 'update outbox_sequence']

describe.each(dialects)('the statements of relays on %s', (dialect) => {
  let database: TestDatabase
  let statements: SentStatements
  let [one, other]: OutboxUnderTest[] = []

  beforeEach(async () => {
    statements = listStatements()
    database = await openTestDatabase(dialect)
    one = await openOutbox(database.url)
    other = await openOutbox(database.url)
    statements.sent.length = 0
  })
  afterEach(async () => {
    statements.end()
    await one?.close()
    await other?.close()
    await database.close()
  })

  /** Shows each statement once, without its values. */
  const shapes = () => {
    const texts = statements.sent
      .map(({ text }) => text)
      .filter((text) => changes.test(text) && !notOfRelays.some((words) => text.includes(words)))
    const byShape = new Map<string, string>()
    for (const text of texts) {
      const shape = text
        .replaceAll(/\s+/g, ' ')
        .replaceAll(/'(''|[^'])*'/g, "'…'")
        .replaceAll(/\b\d+\b/g, '0')
      byShape.set(shape, text)
    }
    return byShape
  }

  test('that change anything are each a failpoint of a test that kills at it', { timeout: 60_000 }, async () => {
    const [bench, beside] = [one as OutboxUnderTest, other as OutboxUnderTest]
    let failing = true
    const publisher = {
      name: 'p',
      publish: async (events: readonly OutboxEvent[]) =>
        events.map(({ payload }) => {
          if (failing && payload === 'bad') return { status: 'permanent', error: permanent(new Error('no')) } as const
          return failing && payload === 'later'
            ? ({ status: 'retryable', error: new Error('not now') } as const)
            : ({ status: 'published' } as const)
        }),
    }
    const options: RelayOptions = {
      ...{ publisher, onDeadLetter: 'block-key', lease: 3000, publishTimeout: 500, pollInterval: { min: 5, max: 20 } },
      retry: { attempts: 1000, baseMs: 1, maxMs: 20 },
    }
    const pending = (aggregate: string) =>
      bench.sql("select id from domain_events where status = 'pending' and aggregate_id = ?", [aggregate])
    const published = (aggregate: string) => expect.poll(() => pending(aggregate), { timeout: 10_000 }).toEqual([])

    // A life that keeps what it published for a moment, with failures, letters, and one who joins.
    const keeping = bench.outbox.relay({ ...options, retention: { keepMs: 0 } })
    await keeping.start()
    await bench.record('well', [1, 2])
    await published('well')
    // Its head is parked all the time, so that a redrive has heads to look before.
    await bench.record('delayed', [1], { availableAt: new Date(Date.now() + 3_600_000) })
    await bench.record('fails', ['later', 2])
    await expect.poll(() => keeping.status().retried, { timeout: 10_000 }).toBeGreaterThan(1)
    await bench.record('refused', ['bad', 2])
    await expect.poll(() => keeping.status().deadLettered, { timeout: 10_000 }).toBe(1)
    await bench.outbox.deadLetters.redrive({ aggregateId: 'refused' })
    await expect.poll(() => keeping.status().deadLettered, { timeout: 10_000 }).toBe(2)
    await bench.outbox.deadLetters.discard({ aggregateId: 'refused' })
    failing = false
    await published('fails')
    const joining = beside.outbox.relay(options)
    await joining.start()
    await expect.poll(() => joining.status().buckets.length, { timeout: 10_000 }).toBe(32)
    await joining.stop()
    await keeping.stop()

    // One that died with an event in hand, and one that takes it for dead and deletes what it published.
    await bench.record('dead', [1])
    const dead = '019c0000-0000-7000-8000-000000000001'
    const past = dialect === 'postgresql' ? "now() - interval '1 minute'" : '0'
    const inHand = dialect === 'postgresql' ? 'json_build_array(sequence::text)' : 'json_array(cast(sequence as text))'
    await bench.sql(
      `${own} insert into outbox_relays (id, name, publisher, started_at, expires_at) values (?, 'dead', 'p', ${past}, ${past})`,
      [dead],
    )
    await bench.sql(
      `${own} insert into outbox_progress (relay, in_flight) select ?, ${inHand} from domain_events where aggregate_id = 'dead'`,
      [dead],
    )
    const { bucket } = placeKey('Note:dead')
    await bench.sql(`${own} update outbox_leases set owner = ?, leased_until = ${past} where bucket = ?`, [dead, bucket])
    const deleting = bench.outbox.relay({ ...options, retention: 'delete' })
    await deleting.start()
    await published('dead')
    await deleting.stop()

    const failpoints = failpointsOn(dialect).map(({ statement }) => new RegExp(statement, 'is'))
    const found = shapes()
    const unguarded = [...found].filter(([, text]) => !failpoints.some((failpoint) => failpoint.test(text)))
    expect(unguarded.map(([shape]) => shape)).toEqual([])
    // This life shows all that a relay writes: every failpoint is one of its statements.
    const texts = statements.sent.map(({ text }) => text)
    const unseen = failpoints.filter((failpoint) => !texts.some((text) => failpoint.test(text)))
    expect(unseen).toEqual([])
  })
})
