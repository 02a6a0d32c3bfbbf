export type { CacheStore } from '../cache/cache-store.ts'
export type { Clock } from '../kernel/clock.ts'
export type { OutboxEvent, Outcome, PublishContext, Publisher, PublishFault } from '../outbox/publishing/publisher.ts'
export type { CacheStoreCase, CacheStoreContext } from './cache-store-case.ts'
export { cacheStoreContract } from './cache-store-contract.ts'
export { makeDue } from './make-due.ts'
export { ManualClock } from './manual-clock.ts'
export { MemoryPublisher } from './memory-publisher.ts'
export {
  contractEvent,
  type DeliveredEvent,
  type PublisherCase,
  type PublisherContext,
  publisherContract,
} from './publisher-contract.ts'
