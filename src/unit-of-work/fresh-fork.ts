import type { EntityManager, MikroORM } from '@mikro-orm/core'

/**
 * Makes an entity manager that knows no entity and is in no transaction. It sees what the request of the caller sees: filters
 * and their parameters, session and schema come from the entity manager of the `RequestContext`, as they do with `orm.em.fork()`.
 */
export function freshFork({ config, driver, em }: MikroORM): EntityManager {
  // ORMs may share a name, and with it the context.
  const request = config.get('context')(em.name)
  const from = request?.getDriver() === driver ? request : em
  return from.fork({ disableContextResolution: true })
}
