import { type EntityManager, type EntityMetadata, helper, Reference, ReferenceKind } from '@mikro-orm/core'

type Row = Record<string, unknown>

/**
 * The entity of a row in an entity manager, as a find of it would give it: what that holds already stays as it is, with whatever its
 * user changed before the read or while it was awaited, and gets only what it lacks.
 *
 * @param row becomes the entity's.
 */
export function managedEntity(em: EntityManager, meta: EntityMetadata, row: Row): object {
  const { class: entity } = meta
  const held = em.getUnitOfWork(false).tryGetById<object>(entity, row, em.schema, false, true) ?? undefined
  leaveOwners(em, meta, held, row)
  // It takes what the entity then has for what is stored, which is true of a new one alone.
  if (held === undefined) return em.merge(entity, row as never, { convertCustomTypes: true, disableContextResolution: true })
  if (helper(held).isInitialized()) return completedEntity(em, held, row)
  return em.getEntityFactory().create(entity, row, { merge: true, convertCustomTypes: true }) as object
}

/**
 * Takes out of the row by whom it is owned one to one, where the entity manager knows otherwise: MikroORM would set that side to this
 * entity, over what somebody has set there.
 */
function leaveOwners(em: EntityManager, { bidirectionalRelations }: EntityMetadata, held: object | undefined, row: Row): void {
  for (const { name, kind, owner, mappedBy, targetMeta } of bidirectionalRelations) {
    if (kind !== ReferenceKind.ONE_TO_ONE || owner || row[name] == null) continue
    if (targetMeta === undefined || targetMeta.properties[mappedBy as never]?.mapToPk) continue
    const other = em.getUnitOfWork(false).getById<object>(targetMeta.class, row[name] as never, em.schema, true)
    const owned: unknown = other && Reference.unwrapReference(Reflect.get(other, mappedBy))
    if (held !== undefined && Reflect.get(held, name) !== undefined) delete row[name]
    else if (owned !== undefined && owned !== held) row[name] = null
  }
}

/** Gives an entity that was loaded in part the rest of its row. */
function completedEntity(em: EntityManager, entity: object, row: Row): object {
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
