import { type EntityData, type EntityManager, type EntityMetadata, helper, Utils } from '@mikro-orm/core'
import { type EntityState, isInverse, putBackValues, unload } from './entity-state.ts'

/** Makes an entity belong to an entity manager, and gives it its row back. */
export function putBackRow(em: EntityManager, { entity, initialized, data, made, absent }: EntityState): void {
  const wrapped = helper<object>(entity)
  Object.assign(wrapped, { __em: em, __managed: true })
  if (initialized && data !== undefined) {
    const row = readable(em, wrapped.__meta, data)
    mergeRow(em, entity, row)
    hydrateConstructed(em, entity, row)
    keepApart(entity)
    putBackValues(entity, made)
  } else Object.assign(wrapped, { __initialized: false, __originalEntityData: data })
  for (const name of absent) unload(entity, name)
}

/** Gives an entity manager a row, and with it the entity of that, if it has none. @param like an entity of the same table. */
export function mergeRow(em: EntityManager, like: object, row: EntityData<object>): object {
  const options = { refresh: true, convertCustomTypes: true, cascade: false } as const
  return em.merge(helper(like).__meta.class, row as never, { ...options, ...schemaOf(like) })
}

/** For the options of a query. */
export function schemaOf(entity: object): { readonly schema?: string } {
  const { __schema: schema } = helper(entity)
  return schema === undefined ? {} : { schema }
}

/**
 * A row as a driver reads it, from one as MikroORM keeps it: with JSON as the text that it writes, which it would take for
 * parsed where the driver parses JSON itself, and without what is told by the column of another row.
 */
export function readable(em: EntityManager, { props }: EntityMetadata, data: object): EntityData<object> {
  const platform = em.getPlatform()
  const row: Record<string, unknown> = { ...data }
  for (const prop of props) {
    const { name, columnTypes } = prop
    const value = row[name]
    // It is no column, and to set it would change the row that has one.
    if (isInverse(prop)) delete row[name]
    else if (typeof value === 'string' && platform.convertsJsonAutomatically() && /^jsonb?$/i.test(columnTypes?.[0] ?? '')) {
      row[name] = platform.convertJsonToJSValue(value)
    }
  }
  return row as EntityData<object>
}

/** Sets what a constructor takes: MikroORM leaves it to the constructor, which is not called for an entity that is there. */
function hydrateConstructed(em: EntityManager, entity: object, row: EntityData<object>): void {
  const { __meta: meta, __schema: schema } = helper<object>(entity)
  if (!meta.forceConstructor || meta.constructorParams === undefined) return
  const taken = Object.fromEntries(Object.entries(row).filter(([name]) => meta.constructorParams?.includes(name as never)))
  em.getHydrator().hydrate(entity, meta, taken as EntityData<object>, em.getEntityFactory(), 'full', false, true, schema)
}

/** An entity must not share with its row what an edit in place would change in both: that edit would not be written. */
function keepApart(entity: object): void {
  const data = helper<object>(entity).__originalEntityData as Record<string, unknown> | undefined
  for (const [name, value] of Object.entries(data ?? {})) {
    if (data !== undefined && typeof value === 'object') data[name] = Utils.copy(value)
  }
}
