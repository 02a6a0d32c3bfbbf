import { Collection, EntityMetadata, type EntityProperty, ReferenceKind, types } from '@mikro-orm/core'
import { markDetached } from '../database/detached.ts'
import { Uuid } from '../database/uuid.ts'
import { descriptorOf } from '../kernel/descriptor.ts'

/**
 * How detached entities of one class are made: with plain properties instead of the accessors by which MikroORM tracks managed
 * ones, and with collections that come into being when somebody asks for them. Both together cost many times the rest.
 */
export interface DetachedShape {
  /** An empty one: an instance of the entity's class. */
  create(): object
  /** What the hydrator is to fill. */
  readonly meta: EntityMetadata
  /** The properties that hold dates, if all others hold what cannot be changed; else `undefined`. */
  readonly dates: readonly string[] | undefined
}

/** The shape of an entity's detached results, or `undefined` for what only MikroORM's own factory can make. */
export function detachedShape(meta: EntityMetadata): DetachedShape | undefined {
  const special =
    meta.forceConstructor ||
    meta.virtual ||
    meta.embeddable ||
    meta.serializedPrimaryKey !== undefined ||
    meta.root.inheritanceType !== undefined ||
    meta.compositePK
  if (special) return undefined
  class Detached {}
  makePlain(Detached.prototype, meta)
  const hydrateProps = meta.hydrateProps.filter((property) => !isCollection(property))
  const parts = { ...meta, class: Detached, hydrateProps }
  const shaped = Object.assign(Object.create(EntityMetadata.prototype), parts)
  return { create: () => new Detached(), meta: shaped, dates: datesAmongPrimitives(meta, hydrateProps) }
}

/** True for a property whose column gives a text, number or the like, which readers can share. */
export function holdsPrimitive({ customType, runtimeType }: EntityProperty): boolean {
  return primitives.has(runtimeType) && (customType === undefined || primitiveTypes.has(customType.constructor))
}

const primitives: ReadonlySet<string> = new Set(['string', 'number', 'boolean', 'bigint'])
/** Column types that turn what is primitive into what is primitive, and back into the same. */
const primitiveTypes: ReadonlySet<unknown> = new Set([
  ...[Uuid, types.uuid, types.string, types.text, types.character, types.enum, types.boolean],
  ...[types.tinyint, types.smallint, types.mediumint, types.integer, types.float, types.double],
])

function datesAmongPrimitives(meta: EntityMetadata, properties: readonly EntityProperty[]): readonly string[] | undefined {
  const others = properties.filter((property) => !holdsPrimitive(property))
  return others.every((property) => holdsDate(meta, property)) ? others.map(({ name }) => name) : undefined
}

function holdsDate({ prototype }: EntityMetadata, { customType, runtimeType, kind, name, ref }: EntityProperty): boolean {
  // An accessor of the class may give something else than what the hydrator set, and a reference hides it.
  const hidden = ref === true || descriptorOf(prototype, name)?.get !== undefined
  return kind === ReferenceKind.SCALAR && customType === undefined && runtimeType === 'Date' && !hidden
}

/** Puts a prototype in front of the entity's own, on which all properties are plain ones. */
function makePlain(prototype: object, meta: EntityMetadata): void {
  Reflect.deleteProperty(prototype, 'constructor') // that of the entity's class shows instead
  Object.setPrototypeOf(prototype, meta.prototype)
  for (const property of meta.props) {
    const { name } = property
    if (isCollection(property)) Object.defineProperty(prototype, name, lazyCollection(property))
    // A setter alone is MikroORM's; whoever writes an accessor of his own gives it a getter too.
    else if (hasSetterAlone(meta.prototype, name)) Object.defineProperty(prototype, name, { value: undefined, writable: true })
  }
  Object.defineProperty(prototype, '__helper', { get: stateOf(meta.prototype, prototype) })
  markDetached(prototype)
}

/** True for a relation to many. */
export function isCollection({ kind }: EntityProperty): boolean {
  return kind === ReferenceKind.ONE_TO_MANY || kind === ReferenceKind.MANY_TO_MANY
}

function hasSetterAlone(prototype: object, name: string): boolean {
  const found = descriptorOf(prototype, name)
  return found?.set !== undefined && found.get === undefined
}

/** A collection for each who asks, which the entity keeps unless it is frozen. */
export function lazyCollection(property: EntityProperty): PropertyDescriptor {
  const own = (entity: object, value: unknown) => {
    Object.defineProperty(entity, property.name, { value, writable: true, enumerable: true, configurable: true })
  }
  return {
    get(this: object) {
      const collection = new Collection<object>(this, undefined, false)
      collection.property = property
      if (Object.isExtensible(this)) own(this, collection)
      return collection
    },
    set(this: object, value: unknown) {
      own(this, value)
    },
  }
}

/** MikroORM's state of an entity, which it makes when it is first asked for, as it stands after its own factory. */
function stateOf(managed: object, detached: object) {
  return function (this: object): unknown {
    if (this === detached) return undefined // who walks along prototypes must leave no state there
    const state = Reflect.get(managed, '__helper', this)
    state.__managed = true // else a flush takes it for a new row when a managed entity leads to it
    for (const name of Object.keys(this)) state.__loadedProperties.add(name)
    return state
  }
}
