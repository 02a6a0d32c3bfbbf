import { createHash } from 'node:crypto'
import type { EntityMetadata, EntityProperty, Platform } from '@mikro-orm/core'
import { codecVersion } from './codec.ts'

/** Longer texts stand in keys as their hash. */
const longestText = 100

/** Stands in no text of a key but where it is put on purpose: an encoded value has none. */
const mark = '$'

/** The key of an entity's row. */
export function rowKey(entity: string, id: unknown): string {
  return `${entity}:${text(id)}`
}

/** The key under which a unique property's value leads to an id. */
export function uniqueKey(entity: string, property: string, value: unknown): string {
  return `${entity}@${property}:${text(value)}`
}

/** The key of a query's result for some parameters, given as encoded text. */
export function queryKey(query: string, parameters: string): string {
  return `?${query}:${shorten(parameters)}`
}

/** The stamp on which every entry of an entity hangs: for bulk writes, cascades in the database and invalidation by hand. */
export function wholeEntityStamp(entity: string): string {
  return `${entity}#*`
}

/**
 * The stamp of the entity to which a changed key belongs: it expires that key's entry with all others of the entity. The result of a
 * query belongs to none, and stays what it is.
 */
export function wholeEntityOf(key: string): string {
  return key.startsWith('?') ? key : wholeEntityStamp(key.slice(0, key.search(/[:@#]/)))
}

/** These keys; when there are more than so many, the few that expire all entries of their entities. */
export function atMostKeys(keys: ReadonlySet<string>, most: number): ReadonlySet<string> {
  return keys.size <= most ? keys : new Set([...keys].map(wholeEntityOf))
}

/** The stamp of all rows of an entity whose properties have these values; no properties at all: of every row. */
export function shapeStamp(entity: string, values: Readonly<Record<string, unknown>>): string {
  const pairs = Object.keys(values)
    .sort()
    .map((name) => `${name}=${text(values[name])}`)
  return `${entity}#${pairs.join('&')}`
}

/** Names the lease of those who read an entry anew while it is still served. */
export function revalidationKey(key: string): string {
  return key + mark
}

/** One text for one value as the database knows it: 1 and '1' are the same id, null is not the text 'null'. */
function text(value: unknown): string {
  if (value === null || value === undefined) return mark
  return shorten(encodeURIComponent(plainText(value).toWellFormed()))
}

/** The text of a value; of two dates or binaries the texts are equal only if these are. */
export function plainText(value: unknown): string {
  if (value instanceof Date && !Number.isNaN(value.getTime())) return value.toISOString()
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64url')
  return String(value)
}

function shorten(text: string): string {
  return text.length <= longestText ? text : mark + createHash('sha256').update(text).digest('base64url')
}

/** A property's value as the database knows it: what MikroORM keeps in its snapshots. */
export function databaseValue(property: EntityProperty, value: unknown, platform: Platform): unknown {
  const { customType } = property
  if (customType === undefined || value == null) return value
  return customType.convertToDatabaseValue(value, platform, { fromQuery: true, key: property.name, mode: 'query' })
}

/**
 * Changes when the way in which an entity's rows are written changes, or the table in which they are, so that no version reads what
 * another one wrote.
 *
 * @param classes all that share the entity's rows: a subclass with a table of its own adds properties that the root does not list.
 */
export function schemaVersion(classes: readonly EntityMetadata[]): string {
  const shapes = classes.map((meta) => [meta.className, placeOf(meta), meta.props.map((property) => shapeOf(meta, property))])
  const text = JSON.stringify([codecVersion, shapes.sort(([one], [other]) => (String(one) < String(other) ? -1 : 1))])
  return createHash('sha256').update(text).digest('hex').slice(0, 12)
}

function shapeOf(meta: EntityMetadata, property: EntityProperty): readonly unknown[] {
  const { name, kind, type, fieldNames, columnTypes, customType, lazy = false, targetMeta } = property
  const written = [name, kind, type, fieldNames, columnTypes, customType?.constructor.name, lazy, formulaText(meta, property)]
  // A row shows what MikroORM joins, such as the owner of a one-to-one relation.
  return [...written, targetMeta && placeOf(targetMeta)]
}

function placeOf({ schema, tableName }: EntityMetadata): readonly unknown[] {
  return [schema, tableName]
}

/** MikroORM makes a function of every formula, whose own text tells nothing. */
function formulaText(meta: EntityMetadata, { formula }: EntityProperty): unknown {
  if (formula === undefined) return undefined
  const [alias, name] = ['e', meta.tableName]
  const made = formula(meta.createColumnMappingObject(alias), { alias, name, qualifiedName: name, toString: () => alias })
  return typeof made === 'string' ? made : [made.sql, made.params.map(String)]
}
