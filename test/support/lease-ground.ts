import { afterEach, beforeEach } from 'vitest'
import { BucketLeases, type BucketLeasesParts } from '../../src/outbox/relay/bucket-leases.ts'
import { LeaseStore } from '../../src/outbox/store/lease-store.ts'
import { OutboxStore } from '../../src/outbox/store/outbox-store.ts'
import { openTestDatabase, type TestDatabase, type TestDialect } from './databases.ts'
import { type OutboxUnderTest, openOutbox } from './outbox-bench.ts'

/** How long the leases of these tests live, by the database's clock: none ends by itself for as long as a test takes. */
export const leaseMs = 30_000
export const publishTimeoutMs = 1000
/** Two relays. */
export const ids = { one: '019c0000-0000-7000-8000-000000000001', two: '019c0000-0000-7000-8000-000000000002' }

/** Gives each test an outbox of its own, and relays' leases in it. */
export function leaseGround(dialect: TestDialect) {
  let database: TestDatabase
  let bench: OutboxUnderTest
  beforeEach(async () => {
    database = await openTestDatabase(dialect)
    bench = await openOutbox(database.url)
  })
  afterEach(async () => {
    await bench.close()
    await database.close()
  })
  return {
    get bench() {
      return bench
    },
    /** Another data access to the same database. */
    openBeside: () => openOutbox(database.url),
    outboxStore: () => new OutboxStore(bench.data.orm),
    leases: (id: string, parts: Pick<BucketLeasesParts, 'clock'> & Partial<BucketLeasesParts>) =>
      new BucketLeases({
        store: new LeaseStore(new OutboxStore(bench.data.orm)),
        relay: { id, name: id, publisher: 'p' },
        ...{ leaseMs, publishTimeoutMs },
        noteCrash: async () => {},
        onDead: () => {},
        onLost: () => {},
        ...parts,
      }),
  }
}
