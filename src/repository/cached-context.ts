import { type EntityManager, type EntityMetadata, helper, type MikroORM } from '@mikro-orm/core'
import { hasOwnFilterParams, hasOwnSession, hasOwnView } from '../database/row-views.ts'
import { detachedFork } from './detached-entities.ts'

/** Through what a cached read makes its results, and whether it may use the cache at all. */
export interface CachedContext {
  readonly em: EntityManager
  /** The entity manager to which the results are to belong; none for detached ones. */
  readonly owner: EntityManager | undefined
  /** True when only the database can tell what this caller must see; then nothing is kept either. */
  readonly bypass: boolean
}

/** Tells whether the entity manager to which this one leads may show other rows than the cache has, which are those that the program sees by itself. */
export type OtherRows = (em: EntityManager) => boolean

/**
 * Finds out how to read for a caller. In a transaction, the caller's own or the one around it, and with unflushed changes,
 * the caller must see its own writes, which nobody else may.
 */
export function cachedContext(orm: MikroORM, otherRows: OtherRows, given: EntityManager | undefined): CachedContext {
  const em = (given ?? orm.em).getContext(false)
  const bypass = em.isInTransaction() || otherRows(em)
  if (given !== undefined) return { em, owner: em, bypass: bypass || hasUnflushedChanges(em) }
  if (bypass) return { em: em.fork({ ...detachedFork, keepTransactionContext: true }), owner: undefined, bypass }
  // Forked only when it is needed, which a hit does not.
  return {
    get em() {
      return orm.em.fork(detachedFork)
    },
    owner: undefined,
    bypass,
  }
}

/** True if a detached read may use the cache: the short form of {@link cachedContext} for one. */
export function mayReadCache(orm: MikroORM, otherRows: OtherRows): boolean {
  return !orm.em.isInTransaction() && !otherRows(orm.em)
}

/** Of an entity's rows: a filter that is on may show each caller others. */
export function otherRowsOf(orm: MikroORM, meta: EntityMetadata): OtherRows {
  const metas = [meta]
  return (em) => hasActiveFilter(orm, meta) || hasOwnView(em, metas)
}

/** Of a cached query, by the entities that it depends on: its own run has the filters, and not a caller's parameters for them. */
export function otherRowsOfQuery(orm: MikroORM, metas: readonly EntityMetadata[], filters: boolean): OtherRows {
  if (!filters) return hasOwnSession
  return (em) => hasOwnView(em, metas) || (hasOwnFilterParams(em) && metas.some((meta) => hasActiveFilter(orm, meta)))
}

function hasUnflushedChanges(em: EntityManager): boolean {
  const uow = em.getUnitOfWork(false)
  if (uow.getPersistStack().size > 0 || uow.getRemoveStack().size > 0) return true
  const comparator = em.getComparator()
  for (const entity of uow.getIdentityMap()) {
    const original = uow.getOriginalEntityData(entity)
    if (original === undefined || !helper(entity).isInitialized()) continue
    const changes = comparator.diffEntities(helper(entity).__meta.class, original, comparator.prepareEntity(entity))
    if (Object.keys(changes).length > 0) return true
  }
  return false
}

function hasActiveFilter(orm: MikroORM, meta: EntityMetadata): boolean {
  return anyActive(orm.config.get('filters')) || anyActive(meta.filters)
}

function anyActive(filters: Readonly<Record<string, { readonly default?: boolean }>>): boolean {
  for (const name in filters) if (filters[name]?.default !== false) return true
  return false
}
