import { BucketLeases, type BucketLeasesParts } from '../../src/outbox/relay/bucket-leases.ts'
import { LeaseStore } from '../../src/outbox/store/lease-store.ts'
import { OutboxStore } from '../../src/outbox/store/outbox-store.ts'
import type { TestDialect } from './databases.ts'
import { outboxGround } from './outbox-ground.ts'

/** How long the leases of these tests live, by the database's clock: none ends by itself for as long as a test takes. */
export const leaseMs = 30_000
export const publishTimeoutMs = 1000
/** Two relays. */
export const ids = { one: '019c0000-0000-7000-8000-000000000001', two: '019c0000-0000-7000-8000-000000000002' }

/** Gives each test an outbox of its own, and relays' leases in it. */
export function leaseGround(dialect: TestDialect) {
  const ground = outboxGround(dialect)
  const outboxStore = () => new OutboxStore(ground.bench.data.orm)
  return {
    get bench() {
      return ground.bench
    },
    openBeside: ground.openBeside,
    outboxStore,
    leases: (id: string, parts: Pick<BucketLeasesParts, 'clock'> & Partial<BucketLeasesParts>) =>
      new BucketLeases({
        store: new LeaseStore(outboxStore()),
        relay: { id, name: id, publisher: 'p' },
        ...{ leaseMs, publishTimeoutMs },
        noteCrash: async () => {},
        onDead: () => {},
        onNotTaken: () => {},
        onLost: () => {},
        ...parts,
      }),
  }
}
