import { type EntityMetadata, type EntityProperty, helper, Reference, ReferenceKind, Utils } from '@mikro-orm/core'

/**
 * Freezes a detached entity with all that it holds, so that its readers can share it: what tries to change it throws. A Date and
 * binary data cannot be frozen, and are given anew at each access.
 */
export function frozenEntity(entity: object): object {
  // MikroORM keeps its state of an entity as a property, which is made when it is first asked for.
  const { __meta: meta } = helper(entity) as { readonly __meta: EntityMetadata }
  // A collection comes into being for each who asks.
  const held = meta.props.filter((property) => !isCollection(property)).map(({ name }) => name)
  for (const name of held) if (Reflect.get(entity, name) !== undefined) freezeProperty(entity, name)
  return Object.freeze(entity)
}

/** Makes it a property of the object's own: those that MikroORM tracks lead to its state, which stays as it is. */
function freezeProperty(object: object, name: string | number): void {
  const value: unknown = Reflect.get(object, name)
  const given = value instanceof Date || value instanceof Uint8Array ? { get: () => copyOf(value) } : { value: frozen(value) }
  Object.defineProperty(object, name, { ...given, enumerable: true, configurable: false })
}

function frozen(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value
  if (Reference.isReference(value)) frozenEntity(value.unwrap())
  else if (Utils.isEntity(value, true)) return frozenEntity(value)
  else for (const name of Object.keys(value)) freezeProperty(value, name)
  return Object.freeze(value)
}

function copyOf(value: Date | Uint8Array): Date | Uint8Array {
  if (value instanceof Date) return new Date(value)
  return Buffer.isBuffer(value) ? Buffer.from(value) : new Uint8Array(value)
}

function isCollection({ kind }: EntityProperty): boolean {
  return kind === ReferenceKind.ONE_TO_MANY || kind === ReferenceKind.MANY_TO_MANY
}
