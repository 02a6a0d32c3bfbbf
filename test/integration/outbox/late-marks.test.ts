import { expect, onTestFinished, test, vi } from 'vitest'
import { OutboxStore } from '../../../src/outbox/store/outbox-store.ts'
import { outboxGround } from '../../support/outbox-ground.ts'

const ground = outboxGround('postgresql')

/** From the first mark on relays reach no database, until told so; what they sent first lies in the network. */
function loseFirstMark() {
  const { run, transaction } = OutboxStore.prototype
  const state = {
    away: false,
    carryOut: undefined as (() => Promise<unknown>) | undefined,
    /** Is asked before each statement that is sent. */
    before: undefined as ((sql: string, send: () => Promise<unknown>) => Promise<void>) | undefined,
  }
  const check = () => {
    if (state.away) throw new Error('read ECONNRESET')
  }
  OutboxStore.prototype.run = async function <Row extends object>(this: OutboxStore, sql: string, params?: readonly unknown[]) {
    if (state.carryOut === undefined && sql.includes('with marked as')) {
      state.away = true
      state.carryOut = () => run.call(this, sql, params)
    }
    check()
    await state.before?.(sql, () => run.call(this, sql, params))
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
    lease: 3000,
    publishTimeout: 1000,
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

test('what was to pass over such a mark, and comes through later still, lets no batch be marked without the one before it', {
  timeout: 60_000,
}, async () => {
  const { bench } = ground
  const database = loseFirstMark()
  const nextIsPublished = Promise.withResolvers<void>()
  let passes = 0
  let carryOut: (() => Promise<unknown>) | undefined
  database.before = async (sql, send) => {
    if (sql.startsWith('update outbox_progress set marks =')) {
      passes += 1
      if (passes > 1) return
      carryOut = send
      throw new Error('read ECONNRESET')
    }
    if (carryOut === undefined || !sql.includes('with marked as')) return
    await nextIsPublished.promise
    await carryOut()
    carryOut = undefined
  }
  const seen: unknown[] = []
  const relay = bench.outbox.relay({
    publisher: async ({ payload }) => {
      seen.push(payload)
      if (passes < 2 || payload !== 4) return
      nextIsPublished.resolve()
      await vi.waitUntil(() => carryOut === undefined, { timeout: 2000, interval: 5 })
    },
    batchSize: 3,
    lease: 3000,
    publishTimeout: 1000,
    pollInterval: { min: 5, max: 50 },
  })
  await bench.record('a', [1, 2, 3, 4, 5, 6])
  await relay.start()
  await expect
    .poll(() => database.carryOut !== undefined && relay.status().inHand === 0, { timeout: 20_000, interval: 10 })
    .toBe(true)
  database.away = false
  await expect.poll(async () => (await bench.outbox.stats()).backlog, { timeout: 20_000 }).toBe(0)
  expect(passes).toBe(2)
  expect(seen.slice(-6)).toEqual([1, 2, 3, 4, 5, 6])
  await relay.stop()
})
