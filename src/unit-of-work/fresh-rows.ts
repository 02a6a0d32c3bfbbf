import { type Collection, type EntityManager, FlushMode, helper, Reference, Utils } from '@mikro-orm/core'
import { type EntityState, stateOf } from './entity-state.ts'
import type { Items } from './relation-items.ts'
import { mergeRow, readable, schemaOf } from './row-data.ts'

/** How many rows are read anew with one query. */
const batch = 500

/** What is to be read anew, each with those of its relations to many that are loaded. */
export type Stale = ReadonlyMap<object, ReadonlyMap<string, Collection<object>>>

/** Rows that were read anew for the entities of an entity manager, by another one, so that they leave those as they are. */
export class FreshRows {
  readonly #em: EntityManager
  readonly #stale: Stale
  readonly #fork: EntityManager

  static async read(em: EntityManager, stale: Stale): Promise<FreshRows> {
    const fork = em.fork({ keepTransactionContext: true, flushMode: FlushMode.COMMIT })
    const alike = Map.groupBy(stale.keys(), (entity) => {
      const { __meta: meta, __schema: schema } = helper(entity)
      return JSON.stringify([meta.uniqueName, schema, ...(stale.get(entity)?.keys() ?? [])])
    })
    for (const entities of alike.values()) {
      for (let from = 0; from < entities.length; from += batch) {
        await readAlike(fork, entities.slice(from, from + batch), stale)
      }
    }
    return new FreshRows(em, stale, fork)
  }

  private constructor(em: EntityManager, stale: Stale, fork: EntityManager) {
    this.#em = em
    this.#stale = stale
    this.#fork = fork
  }

  has(entity: object): boolean {
    return this.#fork.getUnitOfWork(false).getIdentityMap().getByEntity?.(entity) !== undefined
  }

  /** How the entities stand by these rows. @param known as they stood before, with more than is read anew. */
  states(known: ReadonlyMap<object, EntityState>): EntityState[] {
    const states: EntityState[] = []
    for (const read of this.#fork.getUnitOfWork(false).getIdentityMap()) {
      const isReference = !helper<object>(read).__initialized
      const entity = isReference ? this.#em.getUnitOfWork(false).getIdentityMap().getByEntity?.(read) : this.#own(read)
      if (entity === undefined || (isReference && known.has(entity))) continue
      // Whatever else comes along, such as an item of a relation, may be new to the entity manager.
      if (this.#stale.has(entity) || !helper<object>(entity).__initialized) {
        states.push(this.#stateBy(read, entity, known.get(entity)))
      }
    }
    return states
  }

  #stateBy(read: Record<string, unknown>, entity: object, known: EntityState | undefined): EntityState {
    const state = stateOf(read)
    const loaded = this.#stale.get(entity)
    const before = known?.initialized === true ? known : undefined
    const collections = new Map<string, Items>()
    for (const [name, { items, partial }] of state.collections) {
      const collection = loaded?.get(name) ?? before?.collections.get(name)?.collection
      if (items !== undefined) collections.set(name, { collection, items: items.map((item) => this.#own(item)), partial })
      // Of one that was known, another branch of the outer work may have loaded it by now.
      else if (before === undefined) collections.set(name, { collection, items, partial })
    }
    // Its row stands as it was put back, and may have been edited since by another branch of the outer work.
    if (before !== undefined) return { ...before, collections, onlyRelations: true }
    const { properties } = helper<object>(read).__meta as { properties: Record<string, { ref?: boolean }> }
    const owned = (values: EntityState['made']) =>
      new Map(
        [...values].map(([name, value]) => {
          const other = Reference.unwrapReference(value as object)
          if (!Utils.isEntity(other, true)) return [name, value]
          return [name, properties[name]?.ref === true ? Reference.create(this.#own(other)) : this.#own(other)]
        }),
      )
    const [inverse, made] = [owned(state.inverse), owned(state.made)]
    return { ...state, entity: entity as Record<string, unknown>, inverse, made, collections }
  }

  /** The entity of the entity manager that has the same row. */
  #own(read: object): object {
    const own = this.#em.getUnitOfWork(false).getIdentityMap().getByEntity?.(read)
    if (own !== undefined) return own
    const { __meta: meta, __initialized: initialized, __originalEntityData: data } = helper(read)
    if (initialized && data !== undefined) return mergeRow(this.#em, read, readable(this.#em, meta, data))
    return this.#em.getReference(meta.class, helper(read).getPrimaryKey() as never, schemaOf(read)) as object
  }
}

async function readAlike(fork: EntityManager, entities: readonly object[], stale: Stale): Promise<void> {
  const [first] = entities as readonly [object]
  const { __meta: meta } = helper(first)
  const keys = entities.map((entity) => Utils.getPrimaryKeyValues(entity, meta, true))
  const where = { [Utils.getPrimaryKeyHash(meta.primaryKeys)]: { $in: keys } }
  // Each was already seen: a filter that hides it now hides an edit that must be put back.
  const rows = await fork.find(meta.class, where as never, { filters: false, ...schemaOf(first) })
  const relations = [...(stale.get(first)?.keys() ?? [])]
  if (rows.length > 0 && relations.length > 0) await fork.populate(rows, relations as never, schemaOf(first))
}
