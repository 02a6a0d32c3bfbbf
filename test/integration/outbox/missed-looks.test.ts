import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type OutboxEvent, permanent } from '../../../src/outbox/publishing/publisher.ts'
import { LeaseStore } from '../../../src/outbox/store/lease-store.ts'
import { SettlementStore } from '../../../src/outbox/store/settlement-store.ts'
import { dialects, openTestDatabase, type TestDialect } from '../../support/databases.ts'
import { type OutboxUnderTest, openOutbox } from '../../support/outbox-bench.ts'

async function open(dialect: TestDialect): Promise<{ bench: OutboxUnderTest; url: string }> {
  const database = await openTestDatabase(dialect)
  onTestFinished(() => database.close())
  const bench = await openOutbox(database.url)
  onTestFinished(() => bench.close())
  return { bench, url: database.url }
}
const bad = () => {
  throw permanent(new Error('bad'))
}

describe.each(dialects)('a relay on %s', (dialect) => {
  test('publishes nothing of a key that a dead letter holds, although its first look at those failed', async () => {
    const { bench } = await open(dialect)
    await bench.record('a', [1])
    await bench.outbox.relay({ publisher: bad, onDeadLetter: 'block-key' }).drain()
    await bench.record('a', [2, 3])
    const { blockedKeys } = SettlementStore.prototype
    let failures = 1
    SettlementStore.prototype.blockedKeys = async function () {
      if (failures-- > 0) throw new Error('Connection terminated unexpectedly')
      return blockedKeys.call(this)
    }
    onTestFinished(() => {
      SettlementStore.prototype.blockedKeys = blockedKeys
    })
    const seen: unknown[] = []
    const relay = bench.outbox.relay({ publisher: ({ payload }) => void seen.push(payload), onDeadLetter: 'block-key' })
    await relay.start()
    await expect.poll(() => failures).toBeLessThan(0)
    await delay(300)
    await relay.stop()
    expect(seen).toEqual([])
  })

  test('that is killed while it has nothing in hand is blamed on no letter that is redriven', async () => {
    const { bench, url } = await open(dialect)
    await bench.record('a', [1])
    const attempts: number[] = []
    const publisher = ({ attempt }: OutboxEvent) => {
      if (relay.status().state === 'running') bad()
      attempts.push(attempt)
    }
    const options = { publisher, lease: 400, publishTimeout: 100 }
    const relay = bench.outbox.relay(options)
    await relay.start()
    await expect.poll(() => relay.status().deadLettered).toBe(1)
    await delay(100)
    // As if it were killed: nothing is given back.
    const { leave } = LeaseStore.prototype
    LeaseStore.prototype.leave = async () => {}
    onTestFinished(() => {
      LeaseStore.prototype.leave = leave
    })
    await relay.stop()
    await bench.outbox.deadLetters.redrive({ type: 'NoteTagged' })
    const next = await openOutbox(url)
    onTestFinished(() => next.close())
    const second = next.outbox.relay(options)
    await second.start()
    await expect.poll(() => attempts).toEqual([1])
    await second.stop()
    expect(next.logger.warnings.map(({ message }) => message)).toContainEqual(expect.stringContaining('died'))
  })

  test('makes no letter of an event by a single crash, however few attempts it gives', async () => {
    const { bench } = await open(dialect)
    const [id] = await bench.record('a', [1])
    const error = 'RELAY_CRASHED: relay x ended without a word while it published this event'
    await bench.sql('update domain_events set attempts = 1, last_error = ?', [error])
    await bench.sql('insert into outbox_failures values (?, 1, ?, ?)', [id, dialect === 'sqlite' ? 0 : new Date(), error])
    expect(await bench.outbox.relay({ publisher: () => {}, retry: { attempts: 1 } }).drain()).toMatchObject({ published: 1 })
  })
})
