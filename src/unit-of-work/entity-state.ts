import {
  type Collection,
  type EntityManager,
  type EntityProperty,
  helper,
  type Primary,
  ScalarReference,
  Utils,
} from '@mikro-orm/core'
import { type Items, itemsOf } from './relation-items.ts'

/** One managed entity as it stood when a savepoint was opened, or as its row is read anew. */
export interface EntityState {
  readonly entity: Record<string, unknown>
  /** The properties of the primary key. */
  readonly key: ReadonlyMap<string, unknown>
  /** False for a reference, of which only the key is known. */
  readonly initialized: boolean
  /** The row as last written or read, in the driver's form. */
  readonly data: object | undefined
  /** The values of the properties that MikroORM leaves out of what it has written: the version, what the database generates, and what is not stored. */
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
  const { __meta: meta, __data: kept, __initialized: initialized, __originalEntityData: data } = helper<object>(entity)
  const absent: string[] = []
  const key = new Map<string, unknown>()
  const made = new Map<string, unknown>()
  const inverse = new Map<string, unknown>()
  const collections = new Map<string, Items>()
  for (const prop of Object.values<EntityProperty>(meta.properties)) {
    const { name, kind, primary, embedded, getter } = prop
    const own = embedded === undefined && getter !== true
    const value = own ? entity[name] : null
    if (kind === '1:m' || kind === 'm:n') collections.set(name, itemsOf(value as Collection<object> | undefined))
    else if (isInverse(prop)) inverse.set(name, value)
    else if (primary === true && own) key.set(name, value)
    else if (primary === true || (!(name in kept) && isLeftToClass(entity, name))) continue
    else if (isAbsent(value)) absent.push(name)
    else if (own && isMade(prop)) made.set(name, value)
  }
  return { entity, key, initialized, data: data && rowOf(data), made, absent, inverse, collections }
}

/** Puts values back, and tells no other end of a relation. */
export function putBackValues(entity: Record<string, unknown>, values: ReadonlyMap<string, unknown>): void {
  const { __data: data } = helper<object>(entity)
  for (const [name, value] of values) Object.assign(name in data ? data : entity, { [name]: value })
}

/** Puts back what is missing of a primary key of several parts, each of which may lead to another entity. */
export function putBackKey(em: EntityManager, entity: Record<string, unknown>, key: Primary<object>): void {
  const { __meta: meta } = helper<object>(entity)
  if (!meta.compositePK) return
  const values = Utils.getCompositeKeyValue(key as never, meta) as Primary<object>[]
  meta.primaryKeys.forEach((name, index) => {
    const { targetMeta, mapToPk, ref } = meta.properties[name] as EntityProperty
    if (entity[name] != null) return
    const leads = targetMeta !== undefined && mapToPk !== true
    const value = leads ? em.getReference(targetMeta.class, values[index] as never, { wrapped: ref === true }) : values[index]
    putBackValues(entity, new Map([[name, value]]))
  })
}

/** Of a one-to-one relation the side without the column. */
export function isInverse({ kind, owner, mapToPk }: EntityProperty): boolean {
  return kind === '1:1' && owner !== true && mapToPk !== true
}

/** Whether a flush leaves it out of what it has written: MikroORM or the database makes it, or it is not stored. */
function isMade({ version, generated, formula, persist }: EntityProperty): boolean {
  return version === true || generated !== undefined || formula !== undefined || persist === false
}

/** A getter of the class's own makes its value itself, and a setter may make of it what is stored. MikroORM's accessors there only set. */
function isLeftToClass(entity: object, name: string): boolean {
  let holder: object | null = entity
  while (holder !== null && !Object.hasOwn(holder, name)) holder = Object.getPrototypeOf(holder)
  return holder !== null && holder !== entity && Object.getOwnPropertyDescriptor(holder, name)?.get !== undefined
}

/** MikroORM reads a date into the row and the entity alike, which may change it in place. */
function rowOf(data: object): object {
  return Object.fromEntries(Object.entries(data).map(([name, value]) => [name, value instanceof Date ? new Date(value) : value]))
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
