import type { EntityProperty } from '@mikro-orm/core'
import { isStorableText } from '../kernel/storable-text.ts'
import type { Dialect } from './sql.ts'
import { isUuid } from './uuid.ts'

/** Gives the one text of a value of a column, or `undefined` for a value that may be equal to one of another text. */
type Speller = (value: unknown) => string | undefined

const uuidType = /^uuid$/i
const wholeType = /^((tiny|small|medium|big)?int(eger)?|int[248]|(small|big)?serial)$/i
const truthType = /^bool(ean)?$/i
const textType = /^(text|(?:varchar|character varying)(?:\((\d+)\))?)$/i
const wholeText = /^\s*[+-]?\d+\s*$/
/** Both databases hold whole numbers of at most 64 bits exactly. */
const mostBits = 64

/** Columns keep theirs: properties live as long as their ORM. */
const spellers = new WeakMap<EntityProperty, Speller | undefined>()

/**
 * The one text by which this value of a property, as MikroORM hands it to the database, is known wherever it is written, read back or
 * asked for: two values are equal there if and only if their texts are. `undefined` for a value of which that is not certain, such as
 * `1.50` in a column of decimals, a text under a collation of its own, or `'7.0'` in one of whole numbers: then nothing may be told
 * from the text. Null has none either.
 */
export function spellingOf(property: EntityProperty, value: unknown, dialect: Dialect): string | undefined {
  return spellerOf(property, dialect)?.(value)
}

/** False for a column in which no value has a spelling of its own: what is read or kept by its values cannot be told apart. */
export function hasSpellings(property: EntityProperty, dialect: Dialect): boolean {
  return spellerOf(property, dialect) !== undefined
}

function spellerOf(property: EntityProperty, dialect: Dialect): Speller | undefined {
  if (!spellers.has(property)) spellers.set(property, makeSpeller(property, dialect))
  return spellers.get(property)
}

function makeSpeller(property: EntityProperty, dialect: Dialect): Speller | undefined {
  const { columnTypes, collation, targetMeta, enum: listed, nativeEnumName, items } = property
  if (targetMeta !== undefined && !targetMeta.getPrimaryProps().every((key) => spellerOf(key, dialect))) return undefined
  if (collation !== undefined || columnTypes?.length !== 1) return undefined
  // What SQL makes of it nobody knows here.
  if (property.hasConvertToDatabaseValueSQL || property.hasConvertToJSValueSQL) return undefined
  const type = columnTypes[0] as string
  // A native enum compares its own items alone.
  if (listed === true && nativeEnumName !== undefined)
    return (value) => (items?.includes(value as never) ? String(value) : undefined)
  // SQLite knows no such type, and takes any text in such a column.
  if (uuidType.test(type)) return dialect === 'postgresql' ? spellUuid : (value) => (isUuid(value) ? value : undefined)
  if (wholeType.test(type)) return spellWhole
  if (truthType.test(type)) return spellTruth
  const text = textType.exec(type)
  if (text === null) return undefined
  // PostgreSQL cuts spaces off that do not fit.
  const longest = dialect === 'postgresql' && text[2] !== undefined ? Number(text[2]) : Number.POSITIVE_INFINITY
  return (value) => {
    if (typeof value !== 'string' || !isStorableText(value)) return undefined
    return value.length <= longest || [...value].length <= longest ? value : undefined
  }
}

/** PostgreSQL gives a uuid back in lower case, however it was written. */
function spellUuid(value: unknown): string | undefined {
  const lower = typeof value === 'string' ? value.toLowerCase() : value
  return isUuid(lower) ? lower : undefined
}

/** Both databases take 07 for 7; SQLite keeps a truth as 0 or 1. */
function spellWhole(value: unknown): string | undefined {
  if (typeof value === 'boolean') return value ? '1' : '0'
  if (typeof value === 'number') return Number.isSafeInteger(value) ? String(value + 0) : undefined
  if (typeof value !== 'bigint' && !(typeof value === 'string' && wholeText.test(value))) return undefined
  const whole = BigInt(value)
  return BigInt.asIntN(mostBits, whole) === whole ? String(whole) : undefined
}

function spellTruth(value: unknown): string | undefined {
  if (value === true || value === 1) return '1'
  return value === false || value === 0 ? '0' : undefined
}
