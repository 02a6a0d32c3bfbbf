import { type Collection, type EntityProperty, helper, ScalarReference } from '@mikro-orm/core'
import { type Items, itemsOf } from './relation-items.ts'

/** One managed entity as it stood when a savepoint was opened, or as its row is read anew. */
export interface EntityState {
  readonly entity: Record<string, unknown>
  /** False for a reference, of which only the key is known. */
  readonly initialized: boolean
  /** The row as last written or read, in the driver's form. */
  readonly data: object | undefined
  /** The values of the properties that MikroORM leaves out of what it has written: the version, and what the database generates. */
  readonly made: ReadonlyMap<string, unknown>
  /** The properties that were not loaded. */
  readonly absent: readonly string[]
  /** The other side of each one-to-one relation whose column is in the other row; undefined where it was not loaded. */
  readonly inverse: ReadonlyMap<string, unknown>
  /** Each relation to many. */
  readonly collections: ReadonlyMap<string, Items>
  /** Whether its row is left as it is. */
  readonly onlyRelations?: boolean
}

/** Takes down how an entity stands, with its own row and the one that it is compared with. */
export function stateOf(entity: Record<string, unknown>): EntityState {
  const { __meta: meta, __initialized: initialized, __originalEntityData: data } = helper<object>(entity)
  const absent: string[] = []
  const made = new Map<string, unknown>()
  const inverse = new Map<string, unknown>()
  const collections = new Map<string, Items>()
  for (const prop of Object.values<EntityProperty>(meta.properties)) {
    const { name, kind, primary, embedded, getter } = prop
    const own = embedded === undefined && getter !== true
    const value = own ? entity[name] : null
    if (kind === '1:m' || kind === 'm:n') collections.set(name, itemsOf(value as Collection<object> | undefined))
    else if (isInverse(prop)) inverse.set(name, value)
    else if (primary !== true && isAbsent(value)) absent.push(name)
    else if (own && isMade(prop)) made.set(name, value)
  }
  return { entity, initialized, data: data === undefined ? undefined : { ...data }, made, absent, inverse, collections }
}

/** Of a one-to-one relation the side without the column. */
export function isInverse({ kind, owner, mapToPk }: EntityProperty): boolean {
  return kind === '1:1' && owner !== true && mapToPk !== true
}

/** Whether MikroORM or the database makes it, and a flush leaves it out of what it has written. */
function isMade({ version, generated, formula }: EntityProperty): boolean {
  return version === true || generated !== undefined || formula !== undefined
}

function isAbsent(value: unknown): boolean {
  return value === undefined || (ScalarReference.isScalarReference(value) && !value.isInitialized())
}

/** What a savepoint loaded it may have changed as well: it is read anew when it is asked for. */
export function unload(entity: Record<string, unknown>, name: string): void {
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

/** Forgets both sides of its one-to-one relations, and changes nothing on the other ends. */
export function forgetOneToOne(entity: object): void {
  const { __meta: meta, __data: data } = helper<object>(entity)
  for (const { name, kind, primary, mapToPk } of meta.relations) {
    if (kind === '1:1' && primary !== true && mapToPk !== true) delete data[name]
  }
}

/** Changes nothing on the other end, whose row knows better. */
export function putBackInverse(entity: object, name: string, value: unknown): void {
  const wrapped = helper<object>(entity)
  if (value !== undefined) wrapped.__data[name] = value
  else {
    delete wrapped.__data[name]
    wrapped.__loadedProperties.delete(name)
  }
}
