import { type EntityManager, helper } from '@mikro-orm/core'

/**
 * Gives a managed entity that was loaded in part what it lacks of its row, as a find of its entity manager would, and leaves what it has
 * as it is.
 */
export function completedEntity(em: EntityManager, entity: object, row: Readonly<Record<string, unknown>>): object {
  const state = helper(entity)
  const missing = Object.keys(row).filter((name) => !state.__loadedProperties.has(name))
  if (missing.length === 0) return entity
  const data = Object.fromEntries(missing.map((name) => [name, row[name]]))
  // As MikroORM does it: no setter is to take this for a change.
  state.__processing = true
  em.getEntityFactory().mergeData(state.__meta, entity, data, { convertCustomTypes: true, initialized: true })
  state.__processing = false
  for (const name of missing) state.__loadedProperties.add(name)
  return entity
}
