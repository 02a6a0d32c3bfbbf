import type { ChangeSet } from '@mikro-orm/core'
import { DataAccessError } from '../errors.ts'

/** Detached entities, or the prototypes that only they have. */
const detached = new WeakSet<object>()

/** Marks an entity, or all of a prototype, as read for a reader who gave no entity manager. */
export function markDetached(entityOrPrototype: object): void {
  detached.add(entityOrPrototype)
}

/**
 * Refuses to insert what the cache gave: nobody tracks it, so MikroORM takes it for a new row when a new entity leads to it, and the
 * database would tell of a duplicate key.
 *
 * @throws DataAccessError `ENTITY_DETACHED`.
 */
export function refuseDetached(changeSets: readonly ChangeSet<object>[]): void {
  for (const { type, entity, meta } of changeSets) {
    if (type !== 'create' || !(detached.has(entity) || detached.has(Object.getPrototypeOf(entity)))) continue
    throw detachedError(meta.className, 'was to be inserted again, since no entity manager knows it')
  }
}

/** The error of one who gives MikroORM what belongs to no entity manager. */
export function detachedError(className: string, what: string): DataAccessError {
  return new DataAccessError(
    'ENTITY_DETACHED',
    `A ${className} from the cache ${what}. Relate another entity to it by its id, or by em.getReference(${className}, id); to change and write it, read it with { em }`,
    { context: { entity: className } },
  )
}
