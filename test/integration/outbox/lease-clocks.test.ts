import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { BucketLeases } from '../../../src/outbox/relay/bucket-leases.ts'
import { LeaseStore } from '../../../src/outbox/store/lease-store.ts'
import { OutboxStore } from '../../../src/outbox/store/outbox-store.ts'
import { ManualClock } from '../../../src/testing/manual-clock.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../../support/databases.ts'
import { type OutboxUnderTest, openOutbox } from '../../support/outbox-bench.ts'

const leaseMs = 30_000

/** A machine whose wall clock can go on, or be set, while the other clock stands still. */
class Machine extends ManualClock {
  ahead = 1_000_000

  wall(): number {
    return this.now() + this.ahead
  }
}

describe.each(dialects)('the leases of a machine beside %s', (dialect) => {
  let database: TestDatabase
  let bench: OutboxUnderTest
  let machine: Machine
  let dead: string[]

  beforeEach(async () => {
    database = await openTestDatabase(dialect)
    bench = await openOutbox(database.url)
    machine = new Machine()
    dead = []
  })
  afterEach(async () => {
    await bench.close()
    await database.close()
  })

  const open = (id: string) =>
    new BucketLeases({
      store: new LeaseStore(new OutboxStore(bench.data.orm)),
      clock: machine,
      relay: { id, name: id, publisher: 'p' },
      leaseMs,
      publishTimeoutMs: 1000,
      noteCrash: async () => {},
      onDead: (found) => void dead.push(found.id),
      onLost: () => {},
    })
  const ids = { one: '019c0000-0000-7000-8000-000000000001', two: '019c0000-0000-7000-8000-000000000002' }

  test('that was suspended are not trusted, although its own clock stood still, until the database has confirmed them', async () => {
    const one = open(ids.one)
    await one.join()
    machine.ahead += leaseMs - 1000
    expect(one.safe(1)).toBe(true)
    machine.ahead += 1
    expect(one.safe(1)).toBe(false)
    await one.keep()
    expect(one.safe(1)).toBe(true)
  })

  test('that was suspended do not make it take the others for dead at once: they may have been so too', async () => {
    const [one, two] = [open(ids.one), open(ids.two)]
    await one.join()
    await two.join()
    machine.ahead += 2 * leaseMs
    const past = dialect === 'postgresql' ? "now() - interval '1 second'" : '0'
    await bench.sql(`update outbox_relays set expires_at = ${past}`)
    await two.keep()
    expect(dead).toEqual([])
  })

  test('whose wall clock is set back last no longer for that', async () => {
    const one = open(ids.one)
    await one.join()
    machine.ahead -= 3_600_000
    await machine.advance(leaseMs - 1000)
    expect(one.safe(1)).toBe(true)
    await machine.advance(1)
    expect(one.safe(1)).toBe(false)
  })
})
