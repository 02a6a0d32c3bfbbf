import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import type { Publisher } from '../../../src/outbox/publishing/publisher.ts'
import { LeaseStore } from '../../../src/outbox/store/lease-store.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../../support/databases.ts'
import { type OutboxUnderTest, openOutbox } from '../../support/outbox-bench.ts'

let database: TestDatabase
let bench: OutboxUnderTest

async function open(dialect: (typeof dialects)[number]): Promise<void> {
  database = await openTestDatabase(dialect)
  bench = await openOutbox(database.url)
}
afterEach(async () => {
  await bench.close()
  await database.close()
})

const publish: Publisher['publish'] = async (events) => events.map(() => ({ status: 'published' }))
const codeOf = (error: { readonly code?: unknown }) => error.code
const registered = async () => (await bench.sql('select id from outbox_relays')).length
const owned = async () => (await bench.sql('select bucket from outbox_leases where owner is not null')).length

/** Lets the relay's next claim do its work, and then what it is told instead of answering. */
function instead(of: () => Promise<never>): void {
  const { claim } = LeaseStore.prototype
  LeaseStore.prototype.claim = async function (...args) {
    await claim.apply(this, args)
    LeaseStore.prototype.claim = claim
    return of()
  }
  onTestFinished(() => {
    LeaseStore.prototype.claim = claim
  })
}

describe.each(dialects)('the start of a relay on %s', (dialect) => {
  beforeEach(() => open(dialect))

  test('ends with a stop although the publisher never gets ready, and may be tried again', async () => {
    let hangs = true
    const publisher: Publisher = { name: 'p', prepare: () => (hangs ? new Promise(() => {}) : Promise.resolve()), publish }
    const relay = bench.outbox.relay({ publisher })
    const started = relay.start().catch(codeOf)
    const twice = relay.start().catch(codeOf)
    await delay(20)
    expect(relay.status().state).toBe('idle')
    const at = Date.now()
    await relay.stop()
    expect(Date.now() - at).toBeLessThan(1000)
    expect(await Promise.all([started, twice])).toEqual(['CLOSED', 'CLOSED'])
    expect(await registered()).toBe(0)
    hangs = false
    await relay.start()
    expect(relay.status().state).toBe('running')
    await relay.stop()
  })

  test('of a drain ends so too, and with the signal that it was given', async () => {
    const publisher: Publisher = { name: 'p', prepare: () => new Promise(() => {}), publish }
    const relay = bench.outbox.relay({ publisher })
    const drained = relay.drain().catch(codeOf)
    await delay(20)
    await relay.stop()
    expect(await drained).toBe('CLOSED')
    const mine = new Error('mine')
    const abort = new AbortController()
    const again = relay.drain({ signal: abort.signal })
    setTimeout(() => abort.abort(mine), 20)
    await expect(again).rejects.toBe(mine)
  })

  test('that is stopped behind its registration leaves again', async () => {
    const claimed = Promise.withResolvers<void>()
    instead(async () => {
      claimed.resolve()
      await delay(200)
      return [] as never
    })
    const relay = bench.outbox.relay({ publisher: () => {} })
    const started = relay.start().catch(codeOf)
    await claimed.promise
    expect([await registered(), await owned()]).toEqual([1, 64])
    await relay.stop()
    expect(await started).toBe('CLOSED')
    expect([await registered(), await owned()]).toEqual([0, 0])
  })

  test('is not waited for longer than the deadline of its stop', async () => {
    const claimed = Promise.withResolvers<void>()
    const gate = Promise.withResolvers<never>()
    instead(() => {
      claimed.resolve()
      return gate.promise
    })
    const relay = bench.outbox.relay({ publisher: () => {} })
    const started = relay.start().catch(codeOf)
    await claimed.promise
    const at = Date.now()
    await relay.stop({ deadline: 100 })
    expect(Date.now() - at).toBeLessThan(3000)
    expect(await started).toBe('CLOSED')
    // What ends late still leaves.
    gate.resolve([] as never)
    await expect.poll(registered).toBe(0)
  })

  test('that fails behind its registration keeps no bucket from the next', async () => {
    instead(async () => {
      throw new Error('Connection terminated unexpectedly')
    })
    const relay = bench.outbox.relay({ publisher: () => {} })
    await expect(relay.start()).rejects.toThrow('terminated')
    expect([await registered(), await owned()]).toEqual([0, 0])
    await bench.record('a', [1])
    await relay.start()
    await expect.poll(() => relay.status().published).toBe(1)
    await relay.stop()
  })
})

test('the start of a relay ends with a stop although a table is locked', async () => {
  await open('postgresql')
  const other = new pg.Client({ connectionString: database.url })
  await other.connect()
  await other.query('begin; lock table outbox_relays in access exclusive mode')
  const relay = bench.outbox.relay({ publisher: () => {} })
  const started = relay.start().catch(codeOf)
  await delay(100)
  const at = Date.now()
  await relay.stop({ deadline: 100 })
  expect(Date.now() - at).toBeLessThan(2000)
  expect(await started).toBe('CLOSED')
  await other.end()
})
