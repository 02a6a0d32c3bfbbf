export { type CacheChoice, type CacheSurroundings, type MemoryCacheOptions, memoryCache } from './cache-choice.ts'
export type { BypassReason, CacheEventName, CacheEvents } from './cache-events.ts'
export type { CacheStore, EntryRequest, Fill, Found, Hit, Lease, LeaseRequest, Payload } from './cache-store.ts'
export {
  type CachedQuery,
  type CachedQueryOptions,
  cachedQuery,
  type Dependency,
  type DependencyShape,
  dep,
} from './cached-query.ts'
export { decode as decodePayload, encode as encodePayload } from './codec.ts'
export type { CacheFigures } from './figures.ts'
export type { InvalidationFigures } from './invalidation-figures.ts'
export { type CachePolicy, type CachePolicyOptions, cachePolicy, type Lifetime } from './policy.ts'
