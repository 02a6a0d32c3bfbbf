import { type ChangeSet, type EntityManager, type EntityMetadata, type EntityProperty, isRaw } from '@mikro-orm/core'

/** The values of a row by property, as MikroORM hands them to the database. */
export type Values = Readonly<Record<string, unknown>>

/** Whether a change set deletes its row. */
export function isDelete({ type }: ChangeSet<object>): boolean {
  return type.startsWith('delete')
}

/** Of a subclass the root does not know all properties, if it has a table of its own. */
export function propertyOfRow(meta: EntityMetadata, name: string): EntityProperty | undefined {
  const known = ({ properties }: EntityMetadata) => (properties as Readonly<Record<string, EntityProperty | undefined>>)[name]
  return known(meta) ?? known(meta.root)
}

/**
 * What a row has after the flush: what was written stands over what it had, and the entity, which hooks may have changed meanwhile, tells
 * the rest. MikroORM writes null for `undefined`.
 *
 * @param before what the row is known to have had.
 */
export function writtenValues(changeSet: ChangeSet<object>, em: EntityManager, before: Values | undefined): Values {
  const { entity, originalEntity, tptChangeSets = [] } = changeSet
  const inEntity = em.getComparator().prepareEntity(entity) as Values
  const written: Record<string, unknown> = { ...(originalEntity as Values | undefined), ...inEntity, ...before }
  for (const { payload } of [...tptChangeSets, changeSet]) {
    for (const [name, value] of Object.entries(payload as Values)) {
      // What SQL made of it, the entity has if MikroORM has read it back.
      written[name] = isRaw(value) ? inEntity[name] : (value ?? null)
    }
  }
  return written
}
