import { UuidType } from '@mikro-orm/core'
import { DataAccessError } from '../errors.ts'

const canonicalUuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/**
 * Tells whether a value is an id as this library writes it: a uuid of any version in lower case. Other spellings, which
 * PostgreSQL would read as the same id and SQLite as another one, are not.
 */
export function isUuid(value: unknown): value is string {
  return typeof value === 'string' && canonicalUuid.test(value)
}

/**
 * The column type of ids: `uuid` on PostgreSQL, text on SQLite. What is not a uuid in lower case is refused with `ID_INVALID`
 * before it reaches the database, in writes and in conditions, so that both dialects behave alike.
 */
export class Uuid extends UuidType {
  override convertToDatabaseValue(value: string | null | undefined): string {
    // A null stays null: it asks for rows without the reference.
    if (value == null || isUuid(value)) return value as string
    const property = this.#property
    const what = property === undefined ? 'an id' : `an id of the kind of ${property}`
    throw new DataAccessError('ID_INVALID', `${describe(value)} is not ${what}. Pass a uuid in lower case`, {
      context: { id: value, ...(property === undefined ? {} : { property }) },
    })
  }

  /** The id that this is the type of. References share it, and the last one of them stands in `prop`. */
  get #property(): string | undefined {
    const { meta, prop } = this
    const target = prop?.targetMeta
    if (target !== undefined) return `${target.className}.${target.primaryKeys[0]}`
    return meta === undefined || prop === undefined ? undefined : `${meta.className}.${prop.name}`
  }
}

function describe(value: unknown): string {
  return typeof value === 'string' ? `"${value.slice(0, 64)}"` : `A value of type ${typeof value}`
}
