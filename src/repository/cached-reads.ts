import { EntityManager, type EntityName, type MikroORM } from '@mikro-orm/core'
import type { CacheChoice } from '../cache/cache-choice.ts'
import type { CacheStore } from '../cache/cache-store.ts'
import type { CachedQuery } from '../cache/cached-query.ts'
import { refuseView } from '../cache/dependency-check.ts'
import { emptyStore } from '../cache/empty-store.ts'
import type { CacheFigures } from '../cache/figures.ts'
import { Invalidation } from '../cache/invalidation.ts'
import type { InvalidationFigures } from '../cache/invalidation-figures.ts'
import { InvalidationLog } from '../cache/invalidation-log.ts'
import { listenTo } from '../cache/orm-hooks.ts'
import type { CachePolicy } from '../cache/policy.ts'
import { ReadThrough } from '../cache/read-through.ts'
import { WatchedChanges } from '../cache/watched-changes.ts'
import type { CommitParticipant } from '../database/commit-participant.ts'
import { watchFlushModes } from '../database/flush-mode.ts'
import type { MigrationObserver } from '../database/migrations.ts'
import { watchViews } from '../database/row-views.ts'
import { DataAccessError } from '../errors.ts'
import { type Clock, monotonicClock } from '../kernel/clock.ts'
import type { CommitScope } from '../kernel/commit-scope.ts'
import { consoleLogger, type Logger } from '../kernel/logger.ts'
import { checkOptions } from '../kernel/options.ts'
import { CacheLife } from './cache-life.ts'
import { CachedQueryReads } from './cached-query-reads.ts'
import { CachedQuerySource } from './cached-query-source.ts'
import { type CachedReads, type CachedRepository, cachedRepositoryClass } from './cached-repository.ts'
import { CachedRows } from './cached-rows.ts'
import { DetachedEntities } from './detached-entities.ts'
import { refuseNamesakes } from './entity-keys.ts'

const cachedOptions = { em: { words: 'an entity manager of the ORM', fits: (value: unknown) => value instanceof EntityManager } }

/** What {@link openCache} takes. */
export interface OpenCacheOptions {
  readonly orm: MikroORM
  readonly store: CacheStore
  /** The root transaction that an entity manager is in. */
  readonly scopeOf: (em: EntityManager) => CommitScope | undefined
  /** Tells whether the caller stands in a transaction that holds the one connection of SQLite. */
  readonly held?: () => boolean
  /** Given for a store that processes share: see {@link CacheChoice}. */
  readonly sweep?: CacheChoice['sweep']
  /** The policies and queries of all modules: every process that writes must know them all. */
  readonly caches: readonly (CachePolicy<never> | CachedQuery<never>)[]
  readonly clock?: Clock
  readonly logger?: Logger
}

/** What all caches of one data access have done. */
export interface CacheStats {
  /** The name of the store. */
  readonly store: string
  /** By the entity's or the query's name. */
  readonly caches: Readonly<Record<string, CacheFigures>>
  /** What became of the keys that changes expired. */
  readonly invalidations: InvalidationFigures
}

/** Puts the cached reads of one data access together. Let {@link Cache.participant}, where there is one, hear of its commits. */
export function openCache(options: OpenCacheOptions): Cache {
  return new Cache(options)
}

/** The cached reads of one data access, made by {@link openCache}. */
export class Cache {
  /** What has to hear of commits and migrations, so that they expire what they changed; absent where nothing is kept. */
  readonly participant?: CommitParticipant & MigrationObserver
  readonly #orm: MikroORM
  readonly #detached: DetachedEntities
  readonly #life: CacheLife
  readonly #clock: Clock
  readonly #store: CacheStore
  readonly #logger: Logger
  readonly #reads: ReadThrough
  readonly #invalidation: Invalidation
  readonly #rows = new Map<string, CachedRows>()
  readonly #repositories = new Map<CachedRows, typeof CachedReads>()
  readonly #queries = new Map<CachedQuery, CachedQuerySource<never, unknown>>()

  /** The readers of detached results, by what they were asked with. */
  readonly #readers = new WeakMap<object, unknown>()

  /** @internal */
  constructor({ orm, store, scopeOf, held, sweep, caches, clock = monotonicClock, logger = consoleLogger }: OpenCacheOptions) {
    this.#life = new CacheLife(held)
    const changes = new WatchedChanges()
    this.#orm = orm
    this.#detached = new DetachedEntities(orm)
    this.#store = store
    this.#clock = clock
    this.#logger = logger
    this.#reads = new ReadThrough({
      ...{ store, clock, settled: () => this.#invalidation.settled() },
      // Twice the longest that a sweep may take, or far more than an invalidation in this process takes.
      graceMs: 2 * (sweep?.everyMs ?? 500),
      shared: sweep !== undefined,
    })
    this.#invalidation = new Invalidation({
      ...{ store, logger, scopeOf, keys: changes, fence: (keys) => this.#reads.fence(keys) },
      sweep: sweep === undefined ? undefined : { log: new InvalidationLog(orm, sweep.space), everyMs: sweep.everyMs },
    })
    try {
      for (const cache of caches) {
        if (isPolicy(cache)) this.#addPolicy(cache as CachePolicy, changes)
        else this.#addQuery(cache as CachedQuery, changes)
      }
    } catch (error) {
      // A connection or a sweep left behind would keep the process alive. Why nothing was opened tells more than a failed close.
      this.close().catch(() => {})
      throw error
    }
    watchViews(orm)
    watchFlushModes(orm)
    if (store === emptyStore) return
    this.participant = this.#invalidation
    listenTo(orm, this.#invalidation)
    // Last: what could not be opened must leave nothing that asks the database.
    this.#invalidation.start()
  }

  /**
   * The cached repository of an entity that has a policy: by the policy itself with its lookups by unique properties.
   *
   * @throws DataAccessError `CACHE_POLICY_MISSING`, `ENTITY_UNKNOWN`; `OPTION_INVALID`, also for an `em` of another ORM.
   */
  cached<Entity extends object, Unique extends string>(
    policy: CachePolicy<Entity, Unique>,
    options?: { readonly em?: EntityManager | undefined },
  ): CachedRepository<Entity, Unique>
  /** The reads of a cached query. @throws DataAccessError `CACHE_POLICY_MISSING`; `OPTION_INVALID`, also for an `em` of another ORM. */
  cached<Params, Result>(
    query: CachedQuery<Params, Result>,
    options?: { readonly em?: EntityManager | undefined },
  ): CachedQueryReads<Params, Result>
  /** The same by the entity's class or schema, without the lookups, of which a type could not tell. */
  cached<Entity extends object>(
    entity: EntityName<Entity>,
    options?: { readonly em?: EntityManager | undefined },
  ): CachedReads<Entity>
  cached(what: unknown, options?: { readonly em?: EntityManager | undefined }): unknown {
    if (options === undefined) {
      const key = requireObject(what)
      const reader = this.#readers.get(key) ?? this.#reader(key, undefined)
      this.#readers.set(key, reader)
      return reader
    }
    // The entity manager itself, in place of `{ em }`, would read past its transaction in silence.
    checkOptions({ door: 'cached' }, options, cachedOptions)
    if (options.em !== undefined && options.em.getDriver() !== this.#orm.driver) {
      throw new DataAccessError('OPTION_INVALID', 'cached: em belongs to another ORM; give one of this data access')
    }
    return this.#reader(requireObject(what), options.em)
  }

  #reader(what: object, em: EntityManager | undefined): unknown {
    if (isQuery(what)) {
      const source = this.#queries.get(what)
      if (source !== undefined) return new CachedQueryReads(this.#orm, source, this.#invalidation, em)
      throw missing(`The cached query ${what.name} is not`, what.name)
    }
    const entity = (isPolicy(what) ? what.entity : what) as EntityName<object>
    const meta = this.#orm.getMetadata().get(entity)
    const rows = this.#rowsOf(meta.root.className)
    const Reads = this.#repositories.get(rows) as typeof CachedReads
    return new Reads(this.#orm, rows, meta, this.#invalidation, em)
  }

  /** Measures one round trip to the store, in milliseconds. @throws what the store throws, such as `REDIS_UNAVAILABLE`. */
  ping(): Promise<number> {
    return this.#store.ping()
  }

  /** What all caches have done in this process since they were opened. Asks nobody, and throws nothing. */
  stats(): CacheStats {
    const figures = [...this.#rows].map(([name, { figures }]) => [name, figures.read()] as const)
    const queries = [...this.#queries].map(([{ name }, { figures }]) => [name, figures.read()] as const)
    return {
      store: this.#store.name,
      caches: Object.fromEntries([...figures, ...queries]),
      invalidations: this.#invalidation.figures(),
    }
  }

  /** Ends the sweeps and closes the store, before the ORM is closed; who reads then is told `CLOSED`. May be called twice. */
  async close(): Promise<void> {
    this.#life.end()
    await this.#reads.close()
    await this.#invalidation.close()
    await this.#store.close()
  }

  #addPolicy(policy: CachePolicy, changes: WatchedChanges): void {
    const rows = new CachedRows({
      ...{ orm: this.#orm, policy, reads: this.#reads, detached: this.#detached, life: this.#life },
      logger: this.#logger,
    })
    if (this.#rows.has(rows.keys.entity)) {
      throw new DataAccessError('OPTION_INVALID', `${rows.keys.entity} has two cache policies; keep one of them`)
    }
    refuseNamesakes(this.#orm, rows.meta)
    this.#rows.set(rows.keys.entity, rows)
    this.#repositories.set(rows, cachedRepositoryClass(rows))
    refuseView(`cachePolicy(${policy.entity.name}) caches the rows of`, rows.meta)
    changes.watchRows(rows.meta.root, policy.uniques)
  }

  #addQuery(query: CachedQuery, changes: WatchedChanges): void {
    if ([...this.#queries.keys()].some(({ name }) => name === query.name)) {
      throw new DataAccessError('OPTION_INVALID', `Two cached queries are named ${query.name}; give one another name`)
    }
    const source = new CachedQuerySource({
      ...{ orm: this.#orm, query, reads: this.#reads, life: this.#life, clock: this.#clock, logger: this.#logger },
      rows: (entity: string) => this.#rowsOf(entity),
    })
    this.#queries.set(query, source)
    for (const { root, properties } of source.shapes) {
      refuseNamesakes(this.#orm, root)
      changes.watchShape(root, properties)
    }
  }

  #rowsOf(entity: string): CachedRows {
    const rows = this.#rows.get(entity)
    if (rows !== undefined) return rows
    throw missing(`${entity} has no cache policy`, `cachePolicy(${entity}, { ttl: 60_000 })`)
  }
}

function requireObject(what: unknown): object {
  if (typeof what === 'function' || (typeof what === 'object' && what !== null)) return what
  throw new DataAccessError('OPTION_INVALID', `cached was given ${String(what)}; give an entity, a policy or a cached query`)
}

function missing(what: string, cure: string): DataAccessError {
  return new DataAccessError('CACHE_POLICY_MISSING', `${what} among the caches of any module; add ${cure} to the caches of one`)
}

function isQuery(value: unknown): value is CachedQuery {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'query'
}

function isPolicy(value: unknown): value is CachePolicy {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'policy'
}
