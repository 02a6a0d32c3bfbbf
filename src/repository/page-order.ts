import { type EntityMetadata, type EntityProperty, type QueryOrderMap, ReferenceKind } from '@mikro-orm/core'
import { DataAccessError } from '../errors.ts'
import { nearestName } from '../kernel/nearest-name.ts'
import { describeValue } from '../kernel/options.ts'

/** By what a page is ordered. */
export interface PageOrder<Entity extends object> {
  /** Total: with the primary key at its end. */
  readonly order: readonly QueryOrderMap<Entity>[]
  /** The relations that it goes through, `user` of `{ user: { name: 'asc' } }`: the cursor is made of what they hold. */
  readonly relations: readonly string[]
}

type Properties = Readonly<Record<string, EntityProperty | undefined>>

const direction = /^(asc|desc)( nulls (first|last))?$/i

/**
 * Completes the order of a page.
 *
 * @throws DataAccessError `OPTION_INVALID` for what MikroORM would leave out in silence, or not know: a direction that is none, an
 * unknown property, a relation whose entities have several values for one row.
 */
export function pageOrder<Entity extends object>(meta: EntityMetadata<Entity>, orderBy: unknown): PageOrder<Entity> {
  const parts = [orderBy ?? []].flat()
  for (const part of parts) {
    if (typeof part !== 'object' || part === null || Array.isArray(part)) {
      throw refused(`orderBy is ${describeValue(part)}; give { property: 'asc' }, or a list of these`)
    }
  }
  const given = parts as readonly QueryOrderMap<Entity>[]
  const relations = new Set(given.flatMap((part) => relationsOf(meta.className, meta.properties as Properties, part)))
  const named = new Set(given.flatMap((part) => Object.keys(part)))
  const missing = meta.primaryKeys.filter((key) => !named.has(key))
  const order = [...given, ...missing.map((key) => ({ [key]: 'asc' }) as QueryOrderMap<Entity>)]
  return { order, relations: [...relations] }
}

function relationsOf(owner: string, properties: Properties, order: object, path = ''): string[] {
  return Object.entries(order).flatMap(([name, by]) => {
    const property = Object.hasOwn(properties, name) ? properties[name] : undefined
    const place = `orderBy.${path}${name}`
    const inside = typeof by === 'object' && by !== null
    if (!inside && by !== 1 && by !== -1 && !(typeof by === 'string' && direction.test(by))) {
      throw refused(`${place} is ${describeValue(by)}; give "asc" or "desc", perhaps with " nulls first" or " nulls last"`)
    }
    if (property === undefined) {
      const near = nearestName(name, Object.keys(properties))
      throw refused(`${place}: ${owner} has no property \`${name}\`${near === undefined ? '' : `; did you mean \`${near}\`?`}`)
    }
    const { kind, targetMeta, embeddedProps } = property
    // Inside a JSON document there is no telling what it has.
    const below = kind === ReferenceKind.EMBEDDED ? embeddedProps : targetMeta?.properties
    const inner = inside && below ? relationsOf(property.type, below as Properties, by, `${path}${name}.`) : []
    if (isToMany(property)) {
      throw refused(
        `${place} leads from one ${owner} to others that hold its key; order by what the ${owner} or a relation to one holds`,
      )
    }
    return inside && targetMeta && kind !== ReferenceKind.EMBEDDED ? [`${path}${name}`, ...inner] : inner
  })
}

/** The other side holds the key, so that the row has no value to order by: MikroORM leaves these out of a page's order. */
function isToMany({ kind, owner }: EntityProperty): boolean {
  if (kind === ReferenceKind.ONE_TO_ONE) return !owner
  return kind === ReferenceKind.ONE_TO_MANY || kind === ReferenceKind.MANY_TO_MANY
}

function refused(what: string): DataAccessError {
  return new DataAccessError('OPTION_INVALID', `page: ${what}`)
}
