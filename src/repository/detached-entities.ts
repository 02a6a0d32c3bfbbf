import {
  type EntityData,
  EntityFactory,
  type EntityManager,
  type EntityMetadata,
  type EntityName,
  EventType,
  type FactoryOptions,
  FlushMode,
  helper,
  type MikroORM,
  type New,
  ObjectHydrator,
} from '@mikro-orm/core'
import { markDetached } from '../database/detached.ts'
import { type DetachedShape, detachedShape } from './detached-shape.ts'

/** How the entity managers behind detached results are forked. */
export const detachedFork = { disableContextResolution: true, flushMode: FlushMode.COMMIT } as const

/**
 * Makes detached entities of rows: each reader's own, known to no identity map. One serves all readers of an ORM, since a fork
 * for each read costs more than the read.
 */
export class DetachedEntities extends EntityFactory {
  readonly #orm: MikroORM
  readonly #shapes = new Map<EntityMetadata, DetachedShape | undefined>()

  constructor(orm: MikroORM) {
    super(orm.em.fork(detachedFork) as EntityManager)
    this.#orm = orm
  }

  /**
   * Makes entities of rows, which stay as they are.
   *
   * @param copy of a row that shares nothing with it: what is not known to be left alone gets one.
   */
  maker(meta: EntityMetadata, copy: (row: object) => object): (row: object) => object {
    const hydrator = this.#orm.config.getHydrator(this.#orm.getMetadata())
    let shape: DetachedShape | undefined
    let fill: ReturnType<ObjectHydrator['getEntityHydrator']> | undefined
    return (row) => {
      shape ??= this.#shape(meta)
      if (shape === undefined) return this.create(meta.class, copy(row) as never, { convertCustomTypes: true })
      const entity = shape.create()
      if (!(hydrator instanceof ObjectHydrator)) {
        hydrator.hydrate(entity, shape.meta, copy(row), this, 'full', false, true)
        return entity
      }
      // What hydrate() would look up on every call.
      fill ??= hydrator.getEntityHydrator(shape.meta, 'full')
      fill(entity, shape.dates === undefined ? copy(row) : row, this, false, true)
      if (shape.dates !== undefined) renewDates(entity, shape.dates)
      return entity
    }
  }

  /** Also called by MikroORM for the relations of an entity, which would be registered else. */
  override create<Entity extends object, Hint extends string = string>(
    entityName: EntityName<Entity>,
    data: EntityData<Entity>,
    options?: FactoryOptions,
  ): New<Entity, Hint> {
    const entity = super.create<Entity, Hint>(entityName, data, { ...options, merge: false })
    markDetached(entity)
    return entity
  }

  /** Called by MikroORM for the entity that a relation names. */
  override createReference<Entity extends object>(
    entityName: EntityName<Entity>,
    id: never,
    options: Parameters<EntityFactory['createReference']>[2] = {},
  ): Entity {
    const meta = this.#orm.getMetadata().get(entityName)
    const shape = options.key === undefined && (typeof id !== 'object' || id === null) ? this.#shape(meta) : undefined
    if (shape === undefined) return super.createReference<Entity>(entityName, id, options)
    const entity = shape.create()
    const data = { [meta.primaryKeys[0] as string]: id }
    const hydrator = this.#orm.config.getHydrator(this.#orm.getMetadata())
    hydrator.hydrateReference(entity, shape.meta, data, this, options.convertCustomTypes)
    helper(entity).__initialized = false
    return entity as Entity
  }

  #shape(meta: EntityMetadata): DetachedShape | undefined {
    // Who listens to the making of entities hears of these too.
    if (this.#orm.em.getEventManager().hasListeners(EventType.onInit, meta)) return undefined
    if (!this.#shapes.has(meta)) this.#shapes.set(meta, detachedShape(meta))
    return this.#shapes.get(meta)
  }
}

/** Replaces the dates that the hydrator took from the row: dates can be changed. */
function renewDates(entity: object, names: readonly string[]): void {
  const held = entity as Record<string, unknown>
  for (const name of names) {
    const value = held[name]
    if (value instanceof Date) held[name] = new Date(value.getTime())
  }
}
