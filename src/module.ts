import type { EntityName, MigrationObject } from '@mikro-orm/core'
import type { CachedQuery } from './cache/cached-query.ts'
import type { CachePolicy } from './cache/policy.ts'
import type { Dialect } from './database/sql.ts'
import type { DomainEventDefinition } from './outbox/define-event.ts'

/**
 * A domain's share of the data layer: its entities, the migrations of their tables, its events. `assessment` is one, and the
 * pattern for your own.
 */
export interface DataModule {
  /** Names the module in errors. */
  readonly name: string
  /** Default: none, as in a module that only lists events. */
  readonly entities?: readonly EntityName[]
  /** Per dialect the migrations in the order in which they run. Their names are permanent and unique across modules. */
  readonly migrations?: Readonly<Record<Dialect, readonly MigrationObject[]>>
  /**
   * The events that its units of work record, and that its relay reads; others are refused. Of an event that changed its shape
   * every version that is still stored.
   */
  readonly events?: readonly DomainEventDefinition[]
  /** How its rows and queries are cached. Every process that writes them must know them all. */
  readonly caches?: readonly (CachePolicy<never> | CachedQuery<never>)[]
}
