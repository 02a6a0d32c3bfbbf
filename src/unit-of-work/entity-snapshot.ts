import { type Collection, type EntityManager, helper } from '@mikro-orm/core'
import { type CreatedEntity, forget, makeNew, type RemovedEntity } from '../database/created-entities.ts'
import { type EntityState, forgetOneToOne, putBackInverse, putBackKey, putBackValues, stateOf } from './entity-state.ts'
import { FreshRows, type Stale } from './fresh-rows.ts'
import { keepStored, loadedRelations, putBackItems } from './relation-items.ts'
import { putBackRow } from './row-data.ts'

/** What was rolled back. */
export interface RolledBack {
  /** The entity manager of the savepoint. */
  readonly em: EntityManager
  /** What the savepoint was to insert. */
  readonly created: readonly CreatedEntity[]
  /** What it was to delete. */
  readonly removed: readonly RemovedEntity[]
  /** That of the savepoint, and those around it. */
  readonly managers: readonly EntityManager[]
}

/**
 * The entities of an entity manager as the database knows them when a savepoint is opened. MikroORM takes what a savepoint
 * wrote for saved, also after its rollback: the next flush would leave out, or write, the wrong rows.
 */
export class EntitySnapshot {
  readonly #em: EntityManager
  readonly #states: ReadonlyMap<object, EntityState>

  /** Flushes first, so that what was changed before the savepoint is written before it, and outlives its rollback. */
  static async take(em: EntityManager): Promise<EntitySnapshot> {
    await em.flush()
    return new EntitySnapshot(em)
  }

  private constructor(em: EntityManager) {
    this.#em = em
    this.#states = new Map(storedIn(em).map((entity) => [entity, stateOf(entity)]))
  }

  /**
   * Puts every entity and its loaded relations back, and takes over what the savepoint had loaded, as is done when it is kept,
   * but as the database has it; for use after the savepoint was rolled back.
   *
   * @param rolledBack undefined if the work had not begun.
   */
  async restore(rolledBack: RolledBack | undefined): Promise<void> {
    forget(rolledBack?.created ?? [], rolledBack?.managers ?? [])
    makeNew(rolledBack?.created ?? [])
    const loaded = this.#loaded(rolledBack)
    const stale = this.#stale(loaded)
    for (const { entity, key } of this.#states.values()) {
      // Whose key leads to the owner of a relation loses it when it is removed from that.
      putBackValues(entity, key)
      // A delete took it out, although the row is still there.
      this.#store(entity)
    }
    this.#putBack([...this.#states.values()], stale)
    const fresh = await FreshRows.read(this.#em, stale)
    // All of it before any is put back, which would make another object for what a relation leads to.
    for (const entity of loaded) if (!this.#states.has(entity)) this.#takeOver(entity, stale, fresh)
    this.#putBack(fresh.states(this.#states))
  }

  /** What the savepoint has managed, and what the entity manager around it manages now. */
  #loaded(rolledBack: RolledBack | undefined): Set<object> {
    const removed = rolledBack === undefined ? [] : removedIn(rolledBack)
    return new Set([...storedIn(this.#em), ...storedIn(rolledBack?.em ?? this.#em), ...removed])
  }

  /**
   * Of which more is loaded than before the savepoint. Whoever keeps it may go on to change it, which must be written; and what
   * the savepoint changed in it must not.
   */
  #stale(loaded: ReadonlySet<object>): Stale {
    const stale = new Map<object, ReadonlyMap<string, Collection<object>>>()
    for (const entity of loaded) {
      const known = this.#states.get(entity)
      const relations = loadedRelations(entity, known?.collections)
      const isMore = helper(entity).__initialized && known?.initialized !== true
      if (isMore || relations.size > 0) stale.set(entity, relations)
    }
    return stale
  }

  #store(entity: object): void {
    const identityMap = this.#em.getUnitOfWork(false).getIdentityMap()
    // Another branch of the outer work may have loaded the same row.
    if (identityMap.getByEntity?.(entity) === undefined) identityMap.store(entity)
  }

  #manages(entity: object): boolean {
    return this.#em.getUnitOfWork(false).getIdentityMap().getByEntity?.(entity) === entity
  }

  #takeOver(entity: object, stale: Stale, fresh: FreshRows): void {
    // Also of references those alone to which a row leads: of others there may be no row.
    if (fresh.has(entity)) this.#store(entity)
    else if (stale.has(entity)) {
      // It was inserted by an upsert, say, of which no flush tells.
      if (this.#manages(entity)) this.#em.getUnitOfWork(false).unsetIdentity(entity)
      makeNew([{ kept: new WeakRef(entity), generated: [] }])
    } else if (!this.#manages(entity)) {
      // A reference that only what was made leads to: MikroORM puts the one of the entity manager in its place that persists that.
      Object.assign(helper(entity), { __em: undefined })
    }
  }

  /** @param stale what will be read anew: who is just loading it must find its relations loaded until then. */
  #putBack(states: readonly EntityState[], stale?: Stale): void {
    const unitOfWork = this.#em.getUnitOfWork(false)
    const stacks = [unitOfWork.getRemoveStack(), unitOfWork.getOrphanRemoveStack()].map((stack) => ({ stack, kept: [...stack] }))
    // MikroORM takes a one-to-one relation from the owner that it finds on the other side, whose row may have given it back already.
    const rows = states.filter(({ onlyRelations }) => onlyRelations !== true)
    for (const { entity } of rows) forgetOneToOne(entity)
    for (const state of rows) putBackRow(this.#em, state)
    for (const { entity, inverse } of rows) {
      for (const [name, value] of inverse) putBackInverse(entity, name, value)
    }
    // Behind the rows, which MikroORM adds to the relations that they belong to.
    const relations = states.flatMap(({ entity, collections }) =>
      [...collections].map(([name, items]) => ({ entity, name, items })),
    )
    // Those that were not loaded first: of many to many, MikroORM tells them what loaded ones hold.
    relations.sort((one, other) => Number(one.items.items !== undefined) - Number(other.items.items !== undefined))
    for (const { entity, name, items } of relations) {
      const loaded = stale?.get(entity)?.get(name)
      if (loaded === undefined) putBackItems(entity, name, items)
      else keepStored(loaded)
    }
    // What other branches of the outer work have removed; MikroORM takes it off when it is put back into a relation.
    for (const { stack, kept } of stacks) {
      stack.clear()
      for (const entity of kept) stack.add(entity)
    }
  }
}

/** No identity map holds what was deleted; what was made before has no row, nor a key. */
function removedIn({ em, created, removed }: RolledBack): object[] {
  const made = new Set(created.map(({ kept }) => kept.deref()))
  const found: object[] = []
  const identityMap = em.getUnitOfWork(false).getIdentityMap()
  // Backwards: what a key leads to is deleted behind it.
  for (const { kept, key } of removed.toReversed()) {
    const entity = kept.deref() as Record<string, unknown> | undefined
    if (entity === undefined || made.has(entity)) continue
    putBackKey(em, entity, key)
    // Its row may have been written and loaded again.
    const other = identityMap.getByEntity?.(entity)
    if (other === undefined || !helper(other).__initialized) identityMap.store(entity)
    found.push(entity)
  }
  return found
}

/** Without data, what is loaded is about to be inserted. */
function storedIn(em: EntityManager): Record<string, unknown>[] {
  return [...em.getUnitOfWork(false).getIdentityMap()].filter((entity: object) => {
    const { __initialized: initialized, __originalEntityData: data } = helper(entity)
    return data !== undefined || !initialized
  }) as Record<string, unknown>[]
}
