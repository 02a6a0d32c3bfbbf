import { type EntityManager, FlushMode, helper, Reference, Utils } from '@mikro-orm/core'
import { type CreatedEntity, forget, makeNew } from '../database/created-entities.ts'
import { type EntityState, forgetOneToOne, putBackInverse, putBackItems, stateOf, unload } from './entity-state.ts'
import { hydrateConstructed, keepApart, readable } from './row-data.ts'

/** How many rows are read anew with one query. */
const batch = 500

/** What was rolled back. */
export interface RolledBack {
  /** The entity manager of the savepoint. */
  readonly em: EntityManager
  /** What the savepoint was to insert. */
  readonly created: readonly CreatedEntity[]
  /** What it was to delete. */
  readonly removed: readonly object[]
  /** That of the savepoint, and those around it. */
  readonly managers: readonly EntityManager[]
}

/**
 * The entities of an entity manager as the database knows them when a savepoint is opened. MikroORM takes what a savepoint
 * wrote for saved, also after its rollback: the next flush would leave out, or write, the wrong rows.
 */
export class EntitySnapshot {
  readonly #em: EntityManager
  readonly #states: readonly EntityState[]

  /** Flushes first, so that what was changed before the savepoint is written before it, and outlives its rollback. */
  static async take(em: EntityManager): Promise<EntitySnapshot> {
    await em.flush()
    return new EntitySnapshot(em)
  }

  private constructor(em: EntityManager) {
    this.#em = em
    this.#states = [...em.getUnitOfWork(false).getIdentityMap()].flatMap((entity: object) => {
      const { __originalEntityData: data, __initialized: initialized } = helper(entity)
      return data === undefined && initialized ? [] : [stateOf(entity as Record<string, unknown>)]
    })
  }

  /**
   * Puts every entity and its loaded relations back, takes over what the savepoint had loaded, as it does when it is kept, and
   * reads that anew; for use after the savepoint was rolled back.
   *
   * @param rolledBack undefined if the work had not begun.
   */
  async restore(rolledBack: RolledBack | undefined): Promise<void> {
    const unitOfWork = this.#em.getUnitOfWork(false)
    const known = new Set<object>(this.#states.map(({ entity }) => entity))
    forget(rolledBack?.created ?? [], rolledBack?.managers ?? [])
    makeNew(rolledBack?.created ?? [])
    for (const { entity } of this.#states) {
      // A delete took it out, although the row is still there.
      if (unitOfWork.getIdentityMap().getByEntity?.(entity) === undefined) unitOfWork.getIdentityMap().store(entity)
    }
    this.#putBack(this.#states)
    unitOfWork.getOrphanRemoveStack().clear()
    // Whoever keeps one may go on to change it, which must be written; and what the savepoint changed in it must not.
    const loaded = [this.#em, rolledBack?.em ?? this.#em].flatMap((em) => loadedIn(em, known))
    // No identity map holds what was deleted; what was made before has no row, nor a key.
    const made = new Set(rolledBack?.created.map(({ kept }) => kept.deref()))
    const removed = rolledBack?.removed.filter((entity) => !known.has(entity) && !made.has(entity)) ?? []
    await this.#readAnew([...new Set([...loaded, ...removed])])
  }

  #putBack(states: readonly EntityState[]): void {
    // Before the rows: MikroORM tells the items of a relation to many who their owner is, which their own rows know better.
    const relations = states.flatMap(({ entity, collections }) =>
      [...collections].map(([name, items]) => ({ entity, name, items })),
    )
    // Those that were not loaded first: they too know the owners of the items of loaded ones.
    const [unloaded, loaded] = [relations.filter(({ items }) => !items), relations.filter(({ items }) => items)]
    for (const { entity, name, items } of [...unloaded, ...loaded]) putBackItems(entity, name, items)
    // MikroORM takes a one-to-one relation from the owner that it finds on the other side, whose row may have given it back already.
    for (const { entity } of states) forgetOneToOne(entity)
    for (const state of states) this.#putBackRow(state)
    for (const { entity, inverse } of states) {
      for (const [name, value] of inverse) putBackInverse(entity, name, value)
    }
  }

  #putBackRow({ entity, initialized, data, made, absent }: EntityState): void {
    const wrapped = helper<object>(entity)
    Object.assign(wrapped, { __em: this.#em })
    if (initialized && data !== undefined) {
      const { __meta: meta } = wrapped
      const row = readable(this.#em, meta, data)
      const options = { refresh: true, convertCustomTypes: true, cascade: false } as const
      this.#em.merge(meta.class, row as never, { ...options, ...schemaOf(entity) })
      hydrateConstructed(this.#em, entity, row)
      keepApart(entity)
      for (const [name, value] of made) Object.assign(name in wrapped.__data ? wrapped.__data : entity, { [name]: value })
    } else Object.assign(wrapped, { __initialized: false, __originalEntityData: data })
    for (const name of absent) unload(entity, name)
  }

  async #readAnew(entities: readonly object[]): Promise<void> {
    const unitOfWork = this.#em.getUnitOfWork(false)
    const fresh = await this.#read(entities)
    const states: EntityState[] = []
    for (const entity of entities) {
      const read = fresh.getUnitOfWork(false).getIdentityMap().getByEntity?.(entity)
      const there = unitOfWork.getIdentityMap().getByEntity?.(entity)
      if (read === undefined && there === entity) unitOfWork.unsetIdentity(entity)
      // Another branch of the outer work may have loaded the same row.
      if (read === undefined || (there !== undefined && there !== entity)) continue
      unitOfWork.getIdentityMap().store(entity)
      const state = stateOf(read as Record<string, unknown>)
      states.push({ ...state, entity: entity as Record<string, unknown>, inverse: this.#own(state) })
    }
    this.#putBack(states)
  }

  /** Reads the rows of entities with an entity manager of its own, which holds what there is of them. */
  async #read(entities: readonly object[]): Promise<EntityManager> {
    const fork = this.#em.fork({ keepTransactionContext: true })
    const alike = Map.groupBy(entities, (entity) => `${helper(entity).__meta.uniqueName} ${helper(entity).__schema ?? ''}`)
    try {
      for (const [first, ...rest] of alike.values()) {
        if (first === undefined) continue
        const { __meta: meta } = helper(first)
        const keys = [first, ...rest].map((entity) => Utils.getPrimaryKeyValues(entity, meta, true))
        for (let from = 0; from < keys.length; from += batch) {
          const where = { [Utils.getPrimaryKeyHash(meta.primaryKeys)]: { $in: keys.slice(from, from + batch) } }
          // Each was already seen: a filter that hides it now hides an edit that must be put back.
          const options = { flushMode: FlushMode.COMMIT, filters: false, ...schemaOf(first) } as const
          await fork.find(meta.class, where as never, options)
        }
      }
    } catch {
      // The transaction is lost, and the caller is about to hear why.
      fork.clear()
    }
    return fork
  }

  /** The other sides of what was read by another entity manager, as entities of this one. */
  #own({ entity, inverse }: EntityState): ReadonlyMap<string, unknown> {
    const { properties } = helper<object>(entity).__meta as { properties: Record<string, { ref?: boolean }> }
    return new Map(
      [...inverse].map(([name, value]) => {
        const other = Reference.unwrapReference(value as object)
        if (!Utils.isEntity(other, true)) return [name, value]
        const { __meta: meta } = helper(other)
        const wrapped = properties[name]?.ref === true
        return [name, this.#em.getReference(meta.class, helper(other).getPrimaryKey() as never, { wrapped } as never)]
      }),
    )
  }
}

/** Without data it is one that is about to be inserted. */
function loadedIn(em: EntityManager, known: ReadonlySet<object>): object[] {
  return [...em.getUnitOfWork(false).getIdentityMap()].filter((entity: object) => {
    const { __initialized: initialized, __originalEntityData: data } = helper(entity)
    return !known.has(entity) && initialized && data !== undefined
  })
}

function schemaOf(entity: object): { readonly schema?: string } {
  const { __schema: schema } = helper(entity)
  return schema === undefined ? {} : { schema }
}
