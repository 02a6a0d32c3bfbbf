import type { EntityMetadata, EntityProperty, MikroORM } from '@mikro-orm/core'
import { classesOf } from '../cache/cascades.ts'
import { databaseValue, plainText, rowKey, uniqueKey } from '../cache/key.ts'
import { couldBeKey } from '../database/key-value.ts'
import { spellingOf } from '../database/spelling.ts'
import { type Dialect, dialectOf } from '../database/sql.ts'
import { isUuid, Uuid } from '../database/uuid.ts'
import { DataAccessError } from '../errors.ts'
import { nearestName } from '../kernel/nearest-name.ts'
import { holdsPrimitive } from './detached-shape.ts'

/** Knows by which keys the rows of one entity are kept: by their ids, and by the values of their unique properties. */
export class EntityKeys {
  /** The name under which the rows are kept: subclasses of one table share it. */
  readonly entity: string
  readonly idName: string
  /** Those whose rows are kept together: of a subclass the root does not list the properties when it has a table of its own. */
  readonly classes: readonly EntityMetadata[]
  /** The properties whose values in a row can be objects. */
  readonly objects: readonly string[]
  readonly #orm: MikroORM
  readonly #meta: EntityMetadata
  readonly #dialect: Dialect
  readonly #hasUuids: boolean

  /** @throws DataAccessError `OPTION_INVALID` for an entity without one plain primary key, and for uniques that are none. */
  constructor(orm: MikroORM, meta: EntityMetadata, uniques: readonly string[]) {
    this.#orm = orm
    this.#meta = meta
    this.#dialect = dialectOf(orm)
    this.entity = meta.root.className
    this.idName = idNameOf(meta)
    for (const name of uniques) checkUnique(meta, name)
    this.#hasUuids = propertyOf(meta, this.idName)?.customType instanceof Uuid
    this.classes = classesOf(orm, meta)
    const properties = this.classes.flatMap(({ props }) => props)
    this.objects = [...new Set(properties.filter((property) => !holdsPrimitive(property)).map(({ name }) => name))]
  }

  /** @param id could be one: see {@link couldBeId}. */
  ofId(id: unknown): string {
    // A uuid as this library writes it is its own text in a key.
    return this.#hasUuids
      ? `${this.entity}:${id}`
      : rowKey(this.entity, this.#text(this.idName, this.databaseValue(this.idName, id)))
  }

  /** The key of a row as the database gives it. */
  ofRow(row: Readonly<Record<string, unknown>>): string {
    return rowKey(this.entity, this.#text(this.idName, row[this.idName]))
  }

  /** The key under which a unique value leads to an id. */
  ofUnique(property: string, value: unknown): string {
    return uniqueKey(this.entity, property, this.#text(property, this.databaseValue(property, value)))
  }

  /** A value of this property as the database knows it. */
  databaseValue(property: string, value: unknown): unknown {
    return databaseValue(this.#property(property), value, this.#orm.em.getPlatform())
  }

  /** False for what cannot be an id at all, such as a malformed uuid: it has no row. */
  couldBeId(id: unknown): boolean {
    return this.#hasUuids ? isUuid(id) : couldBeKey(propertyOf(this.#meta, this.idName), id, this.#dialect)
  }

  /**
   * False for what cannot be a value of this property at all, such as a text where a number belongs: no row has it. A database would
   * refuse it, and MikroORM take an object for a condition, `{ $ne: '' }` for "any other".
   */
  couldBeValue(property: string, value: unknown): boolean {
    if (typeof value === 'object' && !this.objects.includes(property)) return false
    return couldBeKey(propertyOf(this.#meta, property), value, this.#dialect)
  }

  /** True if a row that gets this value expires what is kept under it: see {@link spellingOf}. */
  hasOneSpelling(property: string, value: unknown): boolean {
    return spellingOf(this.#property(property), this.databaseValue(property, value), this.#dialect) !== undefined
  }

  /** Whether the row spells the value of this property so. */
  matches(row: Readonly<Record<string, unknown>>, property: string, value: unknown): boolean {
    return this.#text(property, row[property]) === this.#text(property, this.databaseValue(property, value))
  }

  #text(property: string, value: unknown): string {
    return spellingOf(this.#property(property), value, this.#dialect) ?? plainText(value)
  }

  #property(name: string): EntityProperty {
    return propertyOf(this.#meta, name) as EntityProperty
  }
}

/** The name of the primary key, which must be one plain column. */
function idNameOf(meta: EntityMetadata): string {
  const id = meta.primaryKeys[0] as string | undefined
  if (id !== undefined && !meta.compositePK && propertyOf(meta, id)?.kind === 'scalar') return id
  throw new DataAccessError(
    'OPTION_INVALID',
    `${meta.className} cannot be cached by id: its primary key is not one plain property`,
  )
}

function checkUnique(meta: EntityMetadata, name: string): void {
  const property = propertyOf(meta, name)
  const unique = property?.unique !== undefined || meta.uniques.some(({ properties }) => [properties].flat().join() === name)
  if (property?.kind === 'scalar' && unique) return
  const near = property === undefined ? nearestName(name, Object.keys(meta.properties)) : undefined
  const hint = near === undefined ? '' : `; did you mean \`${near}\`?`
  throw new DataAccessError(
    'OPTION_INVALID',
    `The cache policy of ${meta.className} lists ${name}, which is no unique property of it${hint}`,
  )
}

/** All that is cached goes by the name of its root, and MikroORM by the class, of which two may have one name. */
export function refuseNamesakes(orm: MikroORM, { root }: EntityMetadata): void {
  const isNamesake = (meta: EntityMetadata) => meta.root === meta && meta !== root && meta.className === root.className
  const other = [...orm.getMetadata()].find((meta) => meta.embeddable !== true && isNamesake(meta))
  if (other === undefined) return
  const tables = `${root.tableName} and ${other.tableName}`
  const what = `Two entities are named ${root.className}, of the tables ${tables}, and the cache would take the rows of one for those of the other`
  throw new DataAccessError('OPTION_INVALID', `${what}; give one another name`)
}

/** The property of this name, if the entity has one. */
export function propertyOf(meta: EntityMetadata, name: string): EntityProperty | undefined {
  return (meta.properties as Readonly<Record<string, EntityProperty | undefined>>)[name]
}
