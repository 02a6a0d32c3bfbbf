import { type EntityName, type MikroORM, Utils } from '@mikro-orm/core'
import { DataAccessError } from '../errors.ts'

const explaining = new WeakSet<MikroORM>()

/** Makes an ORM say which entity it does not know, with the code `ENTITY_UNKNOWN`, wherever that comes up. */
export function explainUnknownEntities(orm: MikroORM): void {
  if (explaining.has(orm)) return
  explaining.add(orm)
  const metadata = orm.getMetadata()
  const get = metadata.get.bind(metadata)
  metadata.get = ((entity: EntityName, init?: boolean) => {
    if (init === true || metadata.find(entity) !== undefined) return get(entity as never, init)
    const name = Utils.className(entity)
    throw new DataAccessError(
      'ENTITY_UNKNOWN',
      `The entity ${name} is not known to this data access; add it to the \`entities\` of a module and the module to createDataAccess`,
      { context: { entity: name } },
    )
  }) as typeof metadata.get
}
