import {
  type ChangeSet,
  type Collection,
  type EntityManager,
  helper,
  type Primary,
  Reference,
  type UnitOfWork,
  Utils,
} from '@mikro-orm/core'
import { Journal } from '../kernel/commit-scope.ts'

/** An entity that a flush was to insert. */
export interface CreatedEntity {
  /** Weak: a long import clears its entity manager again and again, and what nobody keeps nobody persists again. */
  readonly kept: WeakRef<object>
  /** The parts of its primary key that the database was to make. */
  readonly generated: readonly string[]
}

/** What each flush of a root transaction was to insert, whether it went well or not, and whether it was kept or not. */
export const createdEntities = new Journal<readonly CreatedEntity[]>('created entities', { outlives: true })

/** An entity that a flush was to delete. */
export interface RemovedEntity {
  /** Weak, as what it creates. */
  readonly kept: WeakRef<object>
  /** Whose key leads to the owner of a relation no longer has that, when it was removed from the relation. */
  readonly key: Primary<object>
}

/** What each flush of a root transaction was to delete. */
export const removedEntities = new Journal<readonly RemovedEntity[]>('removed entities', { outlives: true })

/** What of a flush is an insert. */
export function createdBy(changeSets: readonly ChangeSet<object>[]): CreatedEntity[] {
  const created: CreatedEntity[] = []
  for (const { type, entity, meta } of changeSets) {
    if (type !== 'create') continue
    const generated: readonly string[] = meta.primaryKeys.filter((name) => entity[name] == null)
    created.push({ kept: new WeakRef(entity), generated })
  }
  return created
}

/** What a flush is to delete, and what MikroORM forgets with it: entities with that in their key. */
export function removedBy(uow: UnitOfWork): RemovedEntity[] {
  const deletes = uow.getChangeSets().filter(({ type }) => type === 'delete' || type === 'delete_early')
  const removed = new Set<object>(deletes.map(({ entity }) => entity))
  // In turn: a set gives what is added while it is walked.
  for (const entity of removed) {
    for (const { meta, prop } of helper(entity).__meta.referencingProperties) {
      if (prop.primary !== true) continue
      const others = uow.getIdentityMap().getStore<Record<string, unknown>>(meta as never)
      for (const other of others.values()) if (leadsTo(other[prop.name], entity)) removed.add(other)
    }
  }
  return [...removed].map((entity) => ({ kept: new WeakRef(entity), key: helper(entity).getPrimaryKey() as Primary<object> }))
}

/** @param relation an entity, a reference to one, or with `mapToPk` its key. */
function leadsTo(relation: unknown, entity: object): boolean {
  const other = Reference.unwrapReference(relation as object)
  if (other === undefined || other === null || Utils.isEntity(other, true)) return other === entity
  return Utils.getPrimaryKeyHash(Utils.asArray(other as never)) === helper(entity).getSerializedPrimaryKey()
}

/** Takes entities out of entity managers, which a relation may have brought them to, and which would insert what is new. */
export function forget(created: readonly CreatedEntity[], managers: readonly EntityManager[]): void {
  for (const em of new Set(managers)) {
    const unitOfWork = em.getUnitOfWork(false)
    for (const { kept } of created) {
      const entity = kept.deref()
      if (entity === undefined) continue
      if (unitOfWork.getIdentityMap().getByEntity?.(entity) === entity) unitOfWork.getIdentityMap().delete(entity)
      unitOfWork.getPersistStack().delete(entity)
    }
  }
}

/**
 * Makes entities new again whose insert was rolled back. MikroORM takes them for stored: whoever keeps one and persists it again,
 * as the next attempt of a unit of work does, would see nothing inserted.
 */
export function makeNew(created: readonly CreatedEntity[]): void {
  for (const { kept, generated } of created) {
    const entity = kept.deref()
    if (entity === undefined) continue
    const wrapped = helper(entity)
    Object.assign(wrapped, { __originalEntityData: undefined, __managed: false, __em: undefined, __processing: false })
    // Also of a key that was given: it may lead, through relations, to one that the database is to make anew.
    Object.assign(wrapped, { __pk: undefined, __identifier: undefined })
    for (const name of generated) {
      delete wrapped.__data[name]
      delete (entity as Record<string, unknown>)[name]
    }
    for (const { name, kind, owner } of wrapped.__meta.relations) {
      if (kind === 'm:n' && owner) relate(entity[name as never])
    }
  }
}

/** The rows between the two sides are to be written again as well. */
function relate(collection: Collection<object> | undefined): void {
  const items = collection?.getItems(false) ?? []
  if (items.length === 0) return
  collection?.hydrate([])
  collection?.add(items)
}
