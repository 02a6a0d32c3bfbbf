export type { CacheChoice, CacheSurroundings } from './cache/cache-choice.ts'
export type { CacheStore } from './cache/cache-store.ts'
export {
  type CachedQuery,
  type CachedQueryOptions,
  cachedQuery,
  type Dependency,
  type DependencyShape,
  dep,
} from './cache/cached-query.ts'
export type { CacheFigures } from './cache/figures.ts'
export type { InvalidationFigures } from './cache/invalidation-figures.ts'
export { type CachePolicy, type CachePolicyOptions, cachePolicy, type Lifetime } from './cache/policy.ts'
export { createDataAccess, type DataAccess } from './data-access.ts'
export type { DataAccessHealth, DataAccessStats, HealthOptions, MigrationsReport } from './data-access-health.ts'
export type { AdoptOptions, CacheOption, DataAccessOptions, WakeOption } from './data-access-options.ts'
export type { DataAccessUnit } from './data-access-unit.ts'
export type { DatabaseOptions, PoolOptions } from './database/database-options.ts'
export { idCheck, idProps, timestampProps } from './database/entity-props.ts'
export type { HealthReport } from './database/health.ts'
export type { MigrateOptions } from './database/migration-plan.ts'
export type { NPlusOneSuspect } from './database/n-plus-one.ts'
export type { PoolFigures } from './database/pool-figures.ts'
export { type QueryScope, type QueryScopeOptions, type QueryShape, withQueries } from './database/query-scope.ts'
export type { ExecutedQuery } from './database/query-watch.ts'
export type { Dialect } from './database/sql.ts'
export { DataAccessError, type DataAccessErrorOptions, type ErrorCode, ErrorCodes, hasErrorCode } from './errors.ts'
export { type DataAccessExtensionOptions, dataAccess, type MikroOrmExtension } from './extension.ts'
export { consoleLogger, type LogContext, type Logger, silentLogger } from './kernel/logger.ts'
export type { DataModule } from './module.ts'
export {
  type AggregateClass,
  type DomainEventDefinition,
  type DomainEventOptions,
  defineEvent,
} from './outbox/event/define-event.ts'
export type { PayloadCodec } from './outbox/event/payload.ts'
export type { RecordEvent, RecordedEvent, RecordOptions } from './outbox/event/recorded-event.ts'
export type { Outbox } from './outbox/outbox.ts'
export type { WakeChoice } from './outbox/relay/wake.ts'
export type { CachedQueryReads, QueryArguments } from './repository/cached-query-reads.ts'
export type { CachedReadOptions } from './repository/cached-read-options.ts'
export type { Cache, CacheStats } from './repository/cached-reads.ts'
export type { CachedReads, CachedRepository, UniqueLookups } from './repository/cached-repository.ts'
export { DataRepository, type GetManyOptions, type GetOptions } from './repository/data-repository.ts'
export type { Page, PageOptions } from './repository/page.ts'
export type { CommitHook } from './unit-of-work/commit-hooks.ts'
export type { UnitRetryOptions } from './unit-of-work/retry.ts'
export type { UnitFigures } from './unit-of-work/unit-figures.ts'
export type { UnitIsolation, UnitOfWorkContext, UnitOfWorkOptions, Work } from './unit-of-work/unit-of-work.ts'
