import { type EntityMetadata, type EntityProperty, Utils } from '@mikro-orm/core'
import { DataAccessError } from '../errors.ts'
import { nearestName } from '../kernel/nearest-name.ts'

/**
 * Checks that a change of a row of this entity tells the values of the properties by which a query depends on it.
 *
 * @throws DataAccessError `OPTION_INVALID` for properties that the entity does not have, or whose values stand in other tables.
 */
export function checkDependency(query: string, meta: EntityMetadata, properties: readonly string[]): void {
  refuseView(`The cached query ${query} depends on`, meta)
  const known = meta.properties as Readonly<Record<string, EntityProperty>>
  for (const name of properties) {
    const property = Object.hasOwn(known, name) ? (known[name] as EntityProperty) : undefined
    const fault = property === undefined ? unknown(meta, name, Object.keys(known)) : elsewhere(meta, property)
    if (fault === undefined) continue
    throw new DataAccessError('OPTION_INVALID', `The cached query ${query} depends on \`${name}\`, ${fault}`)
  }
}

/**
 * Refuses an entity whose rows are made of those of other tables, by what changes there.
 *
 * @throws DataAccessError `OPTION_INVALID`
 */
export function refuseView(what: string, { className, view, virtual }: EntityMetadata): void {
  if (view !== true && virtual !== true) return
  const cure = 'cache a query on it by cachedQuery(), with a dep(…) for each entity whose table it reads'
  throw new DataAccessError(
    'OPTION_INVALID',
    `${what} ${className}, which is a view: no change of a row tells what changes in it; ${cure}`,
  )
}

function unknown({ className }: EntityMetadata, name: string, known: readonly string[]): string {
  const near = nearestName(name, known)
  return `which ${className} does not have${near === undefined ? '' : `; did you mean \`${near}\`?`}`
}

/** What to depend on instead, if the property's value does not stand in the entity's own row. */
function elsewhere(
  meta: EntityMetadata,
  { kind, owner, targetMeta, mappedBy, pivotEntity, through, formula }: EntityProperty,
): string | undefined {
  const target = targetMeta?.className
  const not = (cure: string) => `whose values do not stand in the rows of ${meta.className}; ${cure}`
  if (kind === 'm:n') {
    const pivot = (pivotEntity as unknown as { readonly name?: string } | undefined)?.name ?? 'the pivot entity'
    return not(
      `depend on both entities, dep(${meta.className}) and dep(${target}), or on an entity of the pivot table such as ${pivot}`,
    )
  }
  if (through !== undefined) return not(`depend on dep(${Utils.className(through.entity)}, { ${through.ownerProperty}: … })`)
  if (kind === '1:m' || (kind === '1:1' && !owner)) return not(`depend on dep(${target}, { ${mappedBy}: … })`)
  if (formula !== undefined) return not('depend on the properties and entities that its formula reads')
  return undefined
}
