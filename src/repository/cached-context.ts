import { type EntityManager, type EntityMetadata, helper, type MikroORM } from '@mikro-orm/core'
import { detachedFork } from './detached-entities.ts'

/** Through what a cached read makes its results, and whether it may use the cache at all. */
export interface CachedContext {
  readonly em: EntityManager
  /** The entity manager to which the results are to belong; none for detached ones. */
  readonly owner: EntityManager | undefined
  /** True when only the database can tell what this caller must see; then nothing is kept either. */
  readonly bypass: boolean
}

/**
 * Finds out how to read for a caller. In a transaction, the caller's own or the one around it, and with unflushed changes,
 * the caller must see its own writes, which nobody else may. A filter may show each caller other rows.
 */
export function cachedContext(orm: MikroORM, meta: EntityMetadata | undefined, given: EntityManager | undefined): CachedContext {
  const filtered = meta !== undefined && hasActiveFilter(orm, meta)
  if (given !== undefined) {
    const em = given.getContext(false)
    const bypass = filtered || em.isInTransaction() || hasUnflushedChanges(em)
    return { em, owner: em, bypass }
  }
  if (orm.em.isInTransaction()) {
    const em = orm.em.getContext(false).fork({ ...detachedFork, keepTransactionContext: true })
    return { em, owner: undefined, bypass: true }
  }
  // Forked only when it is needed, which a hit does not.
  return {
    get em() {
      return orm.em.fork(detachedFork)
    },
    owner: undefined,
    bypass: filtered,
  }
}

/** True if a detached read may use the cache: the short form of {@link cachedContext} for one. */
export function mayReadCache(orm: MikroORM, meta: EntityMetadata): boolean {
  return !orm.em.isInTransaction() && !hasActiveFilter(orm, meta)
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
