import { type EntityMetadata, type EntityProperty, JsonType, type QueryOrderMap, Raw, ReferenceKind } from '@mikro-orm/core'
import type { Dialect } from '../database/sql.ts'
import { DataAccessError } from '../errors.ts'
import { nearestName } from '../kernel/nearest-name.ts'
import { describeValue } from '../kernel/options.ts'

/** One thing that a page is ordered by. */
export interface PageOrderPart {
  /** As MikroORM takes it: one property, of the entity or of what it leads to, or one fragment of SQL. */
  readonly orderBy: object
  /** Tells this part from any other. */
  readonly name: string
  readonly descends: boolean
  readonly nullsFirst: boolean
  /** False only where a row certainly has a value. */
  readonly nullable: boolean
}

type Properties = Readonly<Record<string, EntityProperty | undefined>>

/** A property, a fragment of SQL, or a name in a JSON document; and the direction. */
interface Leaf {
  readonly path: readonly (string | symbol)[]
  readonly direction: string
  readonly nullable: boolean
}

const directions = /^(asc|desc)( nulls (first|last))?$/i

/**
 * The order of a page, made total: with the primary key at its end.
 *
 * @throws DataAccessError `OPTION_INVALID` for what MikroORM would leave out in silence, or not know: a direction that is none, an
 * unknown property, a relation whose entities have several values for one row.
 */
export function pageOrder(meta: EntityMetadata, orderBy: unknown, dialect: Dialect): readonly PageOrderPart[] {
  if (meta.primaryKeys.length === 0) throw refused(`${meta.className} has no primary key, by which every order of it must end`)
  const given = [orderBy ?? []].flat()
  for (const part of given) {
    if (typeof part !== 'object' || part === null || Array.isArray(part)) {
      throw refused(`orderBy is ${describeValue(part)}; give { property: 'asc' }, or a list of these`)
    }
  }
  const top = { owner: meta.className, properties: meta.properties as Properties, above: [], optional: false }
  const leaves = given.flatMap((part) => leavesOf(top, part as object))
  // Of a key that is a relation only the key itself will do: many rows may share what it leads to.
  const named = new Set(leaves.map(({ path }) => (path.length === 1 ? path[0] : undefined)))
  const missing = meta.primaryKeys.filter((key) => !named.has(key))
  const keys = missing.map((key): Leaf => ({ path: [key], direction: 'asc', nullable: false }))
  return [...leaves, ...keys].map((leaf) => toPart(leaf, dialect))
}

function toPart({ path, direction, nullable }: Leaf, dialect: Dialect): PageOrderPart {
  const orderBy = path.reduceRight<object | string>((inner, name) => ({ [name]: inner }), direction) as QueryOrderMap<object>
  const descends = direction.startsWith('desc')
  // Nulls are the highest values in PostgreSQL and the lowest in SQLite.
  const byDefault = descends === (dialect === 'postgresql')
  const nullsFirst = direction.includes('nulls') ? direction.endsWith('first') : byDefault
  return { orderBy, name: `${path.map(nameOf).join('.')} ${direction}`, descends, nullsFirst, nullable }
}

function nameOf(name: string | symbol): string {
  if (typeof name === 'string') return name
  const { sql, params } = Raw.getKnownFragment(name) ?? {}
  return JSON.stringify([sql, params], (_key, value) => (typeof value === 'bigint' ? `${value}n` : value))
}

/** Where an order goes on. */
interface Place {
  readonly owner: string
  /** `undefined` inside a JSON document: there is no telling what it has. */
  readonly properties: Properties | undefined
  readonly above: readonly string[]
  /** Whether it may be missing as a whole: a row that a relation leads to, a document. */
  readonly optional: boolean
}

function leavesOf({ owner, properties, above, optional }: Place, order: object): Leaf[] {
  return Reflect.ownKeys(order).flatMap((name) => {
    const by: unknown = order[name as keyof typeof order]
    if (typeof name === 'symbol') return fragmentOf(name, by, above)
    const path = [...above, name]
    const place = `orderBy.${path.join('.')}`
    // Unescaped it gets into the statement, whose values would then stand in the wrong places.
    if (properties === undefined && name.includes('?')) {
      const cure = "order by a fragment of raw() that has '\\\\?' there"
      throw refused(`${place} has a \`?\` in its name, which MikroORM takes for the place of a value; ${cure}`)
    }
    if (typeof by !== 'object' || by === null || Array.isArray(by)) {
      const direction = directionOf(place, by)
      const property = properties && propertyOf(place, owner, properties, name)
      if (property?.kind === ReferenceKind.EMBEDDED && !property.object) {
        throw refused(`${place} has several values; order by one of them, { ${name}: { property: 'asc' } }`)
      }
      return { path, direction, nullable: optional || property === undefined || isNullable(property) }
    }
    const property = properties && propertyOf(place, owner, properties, name)
    if (Object.keys(by).length === 0) throw refused(`${place} is {}; give "asc" or "desc", or a property to order by`)
    if (property === undefined) return leavesOf({ owner, properties, above: path, optional: true }, by)
    const within = propertiesWithin(property)
    if (within === null) throw refused(`${place} has nothing within to order by; give "asc" or "desc"`)
    const sameRow = property.kind === ReferenceKind.EMBEDDED && !isNullable(property)
    return leavesOf({ owner: property.type, properties: within, above: path, optional: optional || !sameRow }, by)
  })
}

function fragmentOf(name: symbol, by: unknown, above: readonly string[]): Leaf {
  if (above.length > 0 || !Raw.isKnownFragmentSymbol(name)) {
    throw refused(`${['orderBy', ...above].join('.')} has a symbol as a name; put a fragment of raw() at the top`)
  }
  // A page needs the expression several times, and the values of its parameters with each.
  if ((Raw.getKnownFragment(name)?.params.length ?? 0) > 0) {
    throw refused(
      'orderBy[raw(…)] has parameters, which a cursor does not carry; order by a property, a formula property, or a fragment without any',
    )
  }
  return { path: [name], direction: directionOf('orderBy[raw(…)]', by), nullable: true }
}

function directionOf(place: string, by: unknown): string {
  if (by === 1 || by === -1) return by === 1 ? 'asc' : 'desc'
  if (typeof by === 'string' && directions.test(by)) return by.toLowerCase()
  throw refused(`${place} is ${describeValue(by)}; give "asc" or "desc", perhaps with " nulls first" or " nulls last"`)
}

function propertyOf(place: string, owner: string, properties: Properties, name: string): EntityProperty {
  const property = Object.hasOwn(properties, name) ? properties[name] : undefined
  if (property === undefined) {
    const near = nearestName(name, Object.keys(properties))
    throw refused(`${place}: ${owner} has no property \`${name}\`${near === undefined ? '' : `; did you mean \`${near}\`?`}`)
  }
  if (!isToMany(property)) return property
  throw refused(
    `${place} leads from one ${owner} to others that hold its key; order by what the ${owner} or a relation to one holds`,
  )
}

/** What one may order by within a property: `undefined` for any name, null for none. */
function propertiesWithin({ kind, targetMeta, embeddedProps, customType }: EntityProperty): Properties | undefined | null {
  if (kind === ReferenceKind.EMBEDDED) return embeddedProps as Properties
  if (targetMeta !== undefined) return targetMeta.properties as Properties
  return customType instanceof JsonType ? undefined : null
}

function isNullable({ nullable, formula, customOrder, persist, primary, object }: EntityProperty): boolean {
  return (
    !primary && (nullable === true || formula !== undefined || customOrder !== undefined || persist === false || object === true)
  )
}

/** The other side holds the key, so that the row has no value to order by. */
function isToMany({ kind, owner }: EntityProperty): boolean {
  if (kind === ReferenceKind.ONE_TO_ONE) return !owner
  return kind === ReferenceKind.ONE_TO_MANY || kind === ReferenceKind.MANY_TO_MANY
}

function refused(what: string): DataAccessError {
  return new DataAccessError('OPTION_INVALID', `page: ${what}`)
}
