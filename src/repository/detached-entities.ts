import {
  type EntityData,
  EntityFactory,
  type EntityManager,
  type EntityName,
  type FactoryOptions,
  FlushMode,
  type MikroORM,
  type New,
} from '@mikro-orm/core'

/** How the entity managers behind detached results are forked. */
export const detachedFork = { disableContextResolution: true, flushMode: FlushMode.COMMIT } as const

/**
 * Makes detached entities of rows: each reader's own, known to no identity map. One serves all readers of an ORM, since a fork
 * for each read costs more than the read.
 */
export class DetachedEntities extends EntityFactory {
  constructor(orm: MikroORM) {
    super(orm.em.fork(detachedFork) as EntityManager)
  }

  /** Also called by MikroORM for the relations of an entity, which would be registered else. */
  override create<Entity extends object, Hint extends string = string>(
    entityName: EntityName<Entity>,
    data: EntityData<Entity>,
    options?: FactoryOptions,
  ): New<Entity, Hint> {
    return super.create<Entity, Hint>(entityName, data, { ...options, merge: false })
  }
}
