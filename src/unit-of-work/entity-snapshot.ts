import { Collection, type EntityManager, type EntityProperty, helper, ScalarReference } from '@mikro-orm/core'
import { type CreatedEntity, forget, makeNew } from '../database/created-entities.ts'
import { hydrateConstructed, keepApart, readable } from './row-data.ts'

/** One managed entity as it stood when a savepoint was opened. */
interface EntityState {
  readonly entity: Record<string, unknown>
  /** False for a reference, of which only the key is known. */
  readonly initialized: boolean
  /** The row as last written or read, in the driver's form. */
  readonly data: object | undefined
  /** The values of the properties that MikroORM leaves out of what it has written: the version, and what the database generates. */
  readonly made: ReadonlyMap<string, unknown>
  /** The properties that were not loaded. */
  readonly absent: readonly string[]
  /** Items of each to-many relation; undefined where they were not loaded. */
  readonly collections: ReadonlyMap<string, readonly object[] | undefined>
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
      return data === undefined && initialized ? [] : [stateOf(entity as Record<string, unknown>, initialized, data)]
    })
  }

  /**
   * Puts every entity and its loaded collections back; for use after the savepoint was rolled back.
   *
   * @param created what the savepoint was to insert.
   * @param managers those around it.
   */
  async restore(created: readonly CreatedEntity[], managers: readonly EntityManager[]): Promise<void> {
    const unitOfWork = this.#em.getUnitOfWork(false)
    const known = new Set<object>(this.#states.map(({ entity }) => entity))
    forget(created, managers)
    makeNew(created)
    for (const { entity } of this.#states) {
      // A delete took it out, although the row is still there.
      if (unitOfWork.getIdentityMap().getByEntity?.(entity) === undefined) unitOfWork.getIdentityMap().store(entity)
    }
    // Before the rows: MikroORM tells the items of a relation to many who their owner is, which their own rows know better.
    for (const { entity, collections } of this.#states) {
      for (const [name, items] of collections) putBack(entity, name, items)
    }
    for (const state of this.#states) this.#putBackRow(state)
    unitOfWork.getOrphanRemoveStack().clear()
    // A lazy relation loads through its owner's entity manager, this one, even when it is followed inside the savepoint.
    const loaded = [...unitOfWork.getIdentityMap()].filter((entity: object) => {
      const { __initialized: initialized, __originalEntityData: data } = helper(entity)
      // Without data it is one that the outer unit is about to insert.
      return !known.has(entity) && initialized && data !== undefined
    })
    for (const entity of loaded) unloadCollections(entity as Record<string, unknown>)
    for (const entity of loaded) await this.#reload(entity)
  }

  #putBackRow({ entity, initialized, data, made, absent }: EntityState): void {
    const wrapped = helper<object>(entity)
    Object.assign(wrapped, { __em: this.#em })
    if (initialized && data !== undefined) {
      const { __meta: meta } = wrapped
      const row = readable(this.#em, meta, data)
      const options = { refresh: true, convertCustomTypes: true, cascade: false } as const
      this.#em.merge(meta.class, row as never, options)
      hydrateConstructed(this.#em, entity, row)
      keepApart(entity)
      for (const [name, value] of made) Object.assign(name in wrapped.__data ? wrapped.__data : entity, { [name]: value })
    } else Object.assign(wrapped, { __initialized: false, __originalEntityData: data })
    for (const name of absent) unload(entity, name)
  }

  async #reload(entity: object): Promise<void> {
    try {
      await this.#em.refresh(entity)
    } catch {
      // The transaction is lost, and the caller is about to hear why.
      this.#em.getUnitOfWork(false).unsetIdentity(entity)
    }
  }
}

function stateOf(entity: Record<string, unknown>, initialized: boolean, data: object | undefined): EntityState {
  const absent: string[] = []
  const made = new Map<string, unknown>()
  const collections = new Map<string, readonly object[] | undefined>()
  for (const prop of Object.values<EntityProperty>(helper(entity).__meta.properties)) {
    const { name, kind, primary, embedded, getter } = prop
    const value = embedded === undefined && getter !== true ? entity[name] : null
    if (kind === '1:m' || kind === 'm:n') {
      const collection = value as Collection<object> | undefined
      collections.set(name, collection?.isInitialized() === true ? collection.getItems(false) : undefined)
    } else if (primary !== true && isAbsent(value)) absent.push(name)
    else if (embedded === undefined && getter !== true && (prop.version === true || prop.generated !== undefined))
      made.set(name, value)
  }
  return { entity, initialized, data: data === undefined ? undefined : { ...data }, made, absent, collections }
}

function isAbsent(value: unknown): boolean {
  return value === undefined || (ScalarReference.isScalarReference(value) && !value.isInitialized())
}

/** What a savepoint loaded it may have changed as well: it is read anew when it is asked for. */
function unload(entity: Record<string, unknown>, name: string): void {
  const wrapped = helper(entity)
  if (ScalarReference.isScalarReference(entity[name])) {
    // A reference of its own: one that knows its value cannot forget it.
    const unloaded = new ScalarReference<unknown>(undefined, false)
    unloaded.bind(entity, name as never)
    entity[name] = unloaded
  } else {
    if (entity[name] !== undefined) entity[name] = undefined
    delete wrapped.__data[name]
  }
  wrapped.__loadedProperties.delete(name)
}

/** A row that is read anew leaves the relations to many as they are, with what was added and removed. */
function unloadCollections(entity: Record<string, unknown>): void {
  for (const { name, kind } of helper<object>(entity).__meta.relations) {
    if (kind === '1:m' || kind === 'm:n') putBack(entity, name, undefined)
  }
}

function putBack(entity: Record<string, unknown>, name: string, items: readonly object[] | undefined): void {
  const collection = entity[name] as Collection<object> | undefined
  if (items !== undefined) collection?.hydrate([...items], true)
  else if (
    collection !== undefined &&
    (collection.isInitialized() || collection.isDirty() || collection.getItems(false).length > 0)
  ) {
    Collection.create(entity as object, name as never, undefined, false)
  }
}
