import { type EntityClass, type EntityName, EntitySchema } from '@mikro-orm/core'
import { DataAccessError } from '../errors.ts'
import { type Complete, checkOptions, flag, type KnownOptions, list, numberFrom } from '../kernel/options.ts'

/** How long entries live, in milliseconds, and how closely they are watched. */
export interface Lifetime {
  /** How old an entry may become; 1 ms … 7 days. Default one minute. */
  readonly ttl?: number | undefined
  /** The same for the knowledge that a row does not exist; 1 ms … 7 days. Default a tenth of `ttl`, and at most 10 seconds. */
  readonly negativeTtl?: number | undefined
  /** The share of the ttl by which an entry may end earlier, at random, so that many do not end at once; 0 … 1, default 0.1. */
  readonly jitter?: number | undefined
  /**
   * How long after its ttl an entry is still served while it is read anew behind its readers' backs; never after an
   * invalidation. The hard bound of an entry's age is then `ttl` and this together. 0 … 7 days, default 0.
   */
  readonly serveStale?: number | undefined
  /** The share of hits that are compared with the primary, for the figure `nines`; 0 … 1, default 0. */
  readonly probe?: number | undefined
}

/** What {@link cachePolicy} takes. */
export interface CachePolicyOptions<Entity, Unique extends keyof Entity & string> extends Lifetime {
  /** Properties that are unique and never composed: each gets a lookup, `email` the lookup `byEmail`. Default: none. */
  readonly uniques?: readonly Unique[] | undefined
  /**
   * Freezes detached results and lets all readers in this process share them: the fastest hit, for rows that nobody changes. What
   * tries to throws a `TypeError`; what cannot be frozen, such as a Date, is given anew at each access. Default false.
   */
  readonly frozen?: boolean | undefined
}

/** How the rows of one entity are cached; made by {@link cachePolicy}. */
export interface CachePolicy<Entity extends object = object, Unique extends string = string> {
  /** Tells it from a cached query, among the caches of a module. */
  readonly kind: 'policy'
  /** The class or schema that it was declared for. */
  readonly entity: EntityClass<Entity> | EntitySchema
  /** The names of the properties that have a lookup. */
  readonly uniques: readonly Unique[]
  /** Whether detached results are frozen and shared. */
  readonly frozen: boolean
  /** With the defaults filled in; times in milliseconds. */
  readonly lifetime: Complete<Lifetime>
}

const longestTtlMs = 7 * 24 * 60 * 60 * 1000

/**
 * Says how an entity's rows are cached. Declare it once, beside the entity, and list it among the module's caches.
 *
 * @throws DataAccessError `OPTION_INVALID` for what is no entity, an option that is unknown, or a time or a share outside its range. Whether
 * the entity can be cached so, `createDataAccess()` finds out.
 */
export function cachePolicy<Entity extends object, const Unique extends keyof Entity & string = never>(
  entity: EntityName<Entity>,
  options: CachePolicyOptions<Entity, Unique> = {},
): CachePolicy<Entity, Unique> {
  if (typeof entity !== 'function' && !EntitySchema.is(entity)) {
    throw new DataAccessError('OPTION_INVALID', 'cachePolicy was given no entity; give its class or schema, then the options')
  }
  checkOptions({ door: `cachePolicy(${entity.name})` }, options, { ...lifetimeOptions, uniques: list, frozen: flag })
  const { uniques = [], frozen = false, ...lifetime } = options
  return {
    kind: 'policy',
    entity: entity as EntityClass<Entity> | EntitySchema,
    uniques,
    frozen,
    lifetime: completeLifetime(lifetime),
  }
}

const milliseconds = numberFrom(1, longestTtlMs, ' milliseconds')

/** What the options of a {@link Lifetime} must be. */
export const lifetimeOptions: KnownOptions<Lifetime> = {
  ...{ ttl: milliseconds, negativeTtl: milliseconds, jitter: numberFrom(0, 1) },
  ...{ serveStale: numberFrom(0, longestTtlMs, ' milliseconds'), probe: numberFrom(0, 1) },
}

/** Fills in the defaults. */
export function completeLifetime(lifetime: Lifetime): Complete<Lifetime> {
  const { ttl = 60_000, negativeTtl, jitter = 0.1, serveStale = 0, probe = 0 } = lifetime
  return { ttl, negativeTtl: negativeTtl ?? Math.max(1, Math.min(ttl / 10, 10_000)), jitter, serveStale, probe }
}

/** What a lifetime says of each read: in whole milliseconds, since Redis takes no others. */
export function keeping({ ttl, serveStale, probe }: Complete<Lifetime>) {
  const staleMs = Math.round(serveStale)
  return { keepMs: Math.ceil(ttl) + staleMs, staleMs, probe }
}

/** A lifetime's ttl, shortened by a random part of its jitter. */
export function jitteredTtl({ ttl, negativeTtl, jitter }: Complete<Lifetime>, negative: boolean): number {
  return Math.max(1, Math.round((negative ? negativeTtl : ttl) * (1 - jitter * Math.random())))
}
