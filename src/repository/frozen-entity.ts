import { type EntityMetadata, helper, Reference, Utils } from '@mikro-orm/core'
import { detachedError } from '../database/detached.ts'
import { isCollection, lazyCollection } from './detached-shape.ts'

/** What was frozen here, with all that it holds. */
const frozenHere = new WeakSet<object>()

/**
 * Freezes a detached entity with all that it holds, so that its readers can share it: what tries to change it throws. What cannot be
 * frozen, such as a Date, binary data or an instance of a class, is given anew at each access.
 *
 * @param renew makes the entity once more.
 */
export function frozenEntity(entity: object, renew: () => object): object {
  if (frozenHere.has(entity)) return entity
  frozenHere.add(entity)
  // MikroORM keeps its state of an entity as a property, which is made when it is first asked for.
  const state = helper(entity) as { readonly __meta: EntityMetadata }
  for (const property of state.__meta.props) {
    const { name } = property
    // Comes into being for each who asks.
    if (isCollection(property)) Object.defineProperty(entity, name, lazyCollection(property))
    else if (Reflect.get(entity, name) !== undefined) freezeProperty(entity, name, renew)
  }
  // Its state is shared too: an entity manager that took it in would hand its own to all readers.
  Object.defineProperty(state, '__em', {
    get: () => undefined,
    set: () => {
      throw detachedError(state.__meta.className, 'is frozen, shared by its readers, and belongs to no entity manager')
    },
  })
  // MikroORM marks so what it has prepared to be related, and would do that to a frozen one.
  Object.defineProperty(entity, '__gettersDefined', { value: true })
  return Object.freeze(entity)
}

/** Makes it a property of the object's own: those that MikroORM tracks lead to its state, which stays as it is. */
function freezeProperty(holder: object, name: string, renew: () => object): void {
  const value: unknown = Reflect.get(holder, name)
  const anew = () => Reflect.get(renew(), name)
  const refuse = () => {
    throw new TypeError(`Cannot assign to ${name}: the result is frozen`)
  }
  // MikroORM's own setter would stay if none were given.
  const given = canBeFrozen(value) ? { value: frozen(value, anew) } : { get: copierOf(value) ?? anew, set: refuse }
  Object.defineProperty(holder, name, { ...given, enumerable: true, configurable: false })
}

function frozen(value: unknown, renew: () => object): unknown {
  if (typeof value !== 'object' || value === null || frozenHere.has(value) || Object.isFrozen(value)) return value
  if (Reference.isReference(value)) frozenEntity(value.unwrap(), () => (renew() as typeof value).unwrap())
  else if (Utils.isEntity(value, true)) return frozenEntity(value, renew)
  else for (const name of Object.keys(value)) freezeProperty(value, name, renew)
  return Object.freeze(value)
}

/** False for what keeps its state where freezing does not reach; what such a thing stands in is given with it. */
function canBeFrozen(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || frozenHere.has(value)) return true
  // Somebody froze it already, and what is in it can no longer be replaced.
  if (Object.isFrozen(value)) return Object.values(value).every((item) => typeof item !== 'object' || item === null)
  if (Array.isArray(value) || Reference.isReference(value) || Utils.isEntity(value, true)) return true
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null || isEmbeddable(value)
}

function isEmbeddable(value: object): boolean {
  return (Reflect.get(value, '__meta') as EntityMetadata | undefined)?.embeddable === true
}

/** A copy costs less than the whole entity. */
function copierOf(value: unknown): (() => Date | Uint8Array) | undefined {
  if (value instanceof Date) return () => new Date(value)
  if (Buffer.isBuffer(value)) return () => Buffer.from(value)
  return value instanceof Uint8Array ? () => new Uint8Array(value) : undefined
}
