import { expect, onTestFinished, test } from 'vitest'
import { OutboxStore } from '../../../src/outbox/store/outbox-store.ts'
import { outboxGround } from '../../support/outbox-ground.ts'

const ground = outboxGround('postgresql')

/** From the first mark on relays reach no database, until told so; what they sent first lies in the network. */
function loseFirstMark() {
  const { run, transaction } = OutboxStore.prototype
  const state = { away: false, carryOut: undefined as (() => Promise<unknown>) | undefined }
  const check = () => {
    if (state.away) throw new Error('read ECONNRESET')
  }
  OutboxStore.prototype.run = async function <Row extends object>(this: OutboxStore, sql: string, params?: readonly unknown[]) {
    if (state.carryOut === undefined && sql.includes('with marked as')) {
      state.away = true
      state.carryOut = () => run.call(this, sql, params)
    }
    check()
    return run.call(this, sql, params) as Promise<Row[]>
  }
  OutboxStore.prototype.transaction = async function <Result>(
    this: OutboxStore,
    work: Parameters<OutboxStore['transaction']>[0],
  ) {
    check()
    return transaction.call(this, work) as Promise<Result>
  }
  onTestFinished(() => {
    Object.assign(OutboxStore.prototype, { run, transaction })
  })
  return state
}

// Only PostgreSQL: SQLite carries a statement out at once, or never.
test('a mark that was given up, and comes through when its events are repeated, does not end their repetition', {
  timeout: 60_000,
}, async () => {
  const { bench } = ground
  const database = loseFirstMark()
  const seen: unknown[] = []
  const relay = bench.outbox.relay({
    publisher: async ({ payload }) => {
      seen.push(payload)
      if (seen.length === 4) await database.carryOut?.()
      if (seen.length === 5) throw new Error('no answer')
    },
    lease: 1000,
    publishTimeout: 300,
    pollInterval: { min: 5, max: 50 },
    retry: { baseMs: 10 },
  })
  await bench.record('a', [1, 2, 3])
  await relay.start()
  const givenUp = () => database.carryOut !== undefined && relay.status().inHand === 0
  await expect.poll(givenUp, { timeout: 20_000, interval: 10 }).toBe(true)
  expect(seen).toEqual([1, 2, 3])
  database.away = false
  await expect.poll(() => seen.length, { timeout: 20_000 }).toBe(7)
  await expect.poll(async () => (await bench.outbox.stats()).backlog, { timeout: 20_000 }).toBe(0)
  expect(seen).toEqual([1, 2, 3, 1, 2, 2, 3])
  await relay.stop()
})
