import { type EntityName, EntitySchema, type MetadataStorage, type MikroORM, Utils } from '@mikro-orm/core'
import { DataAccessError } from '../errors.ts'
import { entityNameOf } from './entity-name.ts'
import { type ManagerMethod, overrideManagers } from './override-managers.ts'

const explaining = new WeakSet<MikroORM>()

/** The methods of an entity manager that begin with an entity's class or schema, by how they fail. */
const methods = {
  throwing: ['create', 'getReference'],
  rejecting: ['find', 'findOne', 'count', 'insert', 'insertMany', 'nativeUpdate', 'nativeDelete', 'upsert', 'upsertMany'],
} as const

/** Makes an ORM say which entity it does not know, with the code `ENTITY_UNKNOWN`, wherever that comes up. */
export function explainUnknownEntities(orm: MikroORM): void {
  if (explaining.has(orm)) return
  explaining.add(orm)
  const metadata = orm.getMetadata()
  const get = metadata.get.bind(metadata)
  metadata.get = ((entity: EntityName, init?: boolean) => {
    if (init === true || metadata.find(entity) !== undefined) return get(entity as never, init)
    throw entityUnknown(entity)
  }) as typeof metadata.get
  // Not everything asks the metadata so: findOne() looks into its identity map first. Nor does a schema need to be asked for, which
  // brings metadata of its own; MikroORM itself reads its migrations by one that is in no list.
  overrideManagers(orm.em, ({ own, define }) => {
    const originals = own as unknown as Record<string, (...args: unknown[]) => unknown>
    const refuse = (name: string, fail: (entity: EntityName) => unknown) => {
      const original = originals[name] as (...args: unknown[]) => unknown
      const method: ManagerMethod = function (entity: unknown, ...rest: unknown[]) {
        return isUnknown(metadata, entity) ? fail(entity) : original.call(this, entity, ...rest)
      }
      define(name, method)
    }
    for (const name of methods.rejecting) refuse(name, (entity) => Promise.reject(entityUnknown(entity)))
    for (const name of methods.throwing) {
      refuse(name, (entity) => {
        throw entityUnknown(entity)
      })
    }
  })
}

function isUnknown(metadata: MetadataStorage, entity: unknown): entity is EntityName {
  // upsert() takes an entity too, which is known by its class.
  if (EntitySchema.is(entity)) return !metadata.has(entity.meta.class)
  return typeof entity === 'function' && metadata.find(entity as EntityName) === undefined
}

function entityUnknown(entity: EntityName): DataAccessError {
  const name = (typeof entity === 'function' && entityNameOf(entity as never)) || Utils.className(entity)
  return new DataAccessError(
    'ENTITY_UNKNOWN',
    `The entity ${name} is not known to this data access; add it to the \`entities\` of a module and the module to createDataAccess`,
    { context: { entity: name } },
  )
}
