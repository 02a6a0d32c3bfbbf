import { type EntityMetadata, EntitySchema, MetadataStorage } from '@mikro-orm/core'

/**
 * The name of an entity, by its class; undefined for a class that MikroORM does not know, or not yet. The class's own name is another
 * one in each build of a program that is minified.
 */
export function entityNameOf(entity: abstract new (...args: never[]) => unknown): string | undefined {
  const schema = EntitySchema.REGISTRY.get(entity)
  if (schema !== undefined) return schema.meta.className
  // What has no schema of its own, as with decorators, has this once it was discovered.
  const prototype: object = entity.prototype ?? {}
  if (Object.hasOwn(prototype, '__meta')) return (Reflect.get(prototype, '__meta') as EntityMetadata).className
  // An abstract one has its decorators alone.
  return Object.hasOwn(entity, MetadataStorage.META_SYMBOL) ? entity.name : undefined
}
