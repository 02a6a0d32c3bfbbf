import { BigIntType, DecimalType, DoubleType, type EntityProperty, UuidType } from '@mikro-orm/core'
import { isStorableText } from '../kernel/storable-text.ts'
import type { Dialect } from './sql.ts'
import { isUuid, Uuid } from './uuid.ts'

/** How many bits a column of whole numbers has on PostgreSQL, by the name of its type; on SQLite all have 64. */
const bits: readonly (readonly [RegExp, number])[] = [
  [/^(smallint|int2|smallserial)/i, 16],
  [/^(bigint|int8|bigserial)/i, 64],
  [/^(int|serial)/i, 32],
]
/** A whole number in the one spelling in which both dialects write it. */
const wholeText = /^(0|-?[1-9]\d{0,19})$/
const decimalText = /^-?\d+(\.\d+)?$/

/**
 * False for what cannot be a value of this key or unique property at all: no row has it, and a database asked for it would refuse, or
 * MikroORM would take an object for a condition.
 */
export function couldBeKey(property: EntityProperty | undefined, value: unknown, dialect: Dialect): boolean {
  if (value === undefined || value === null || isCondition(value)) return false
  const { customType, runtimeType, columnTypes } = property ?? {}
  if (customType instanceof Uuid) return isUuid(value)
  // A column of MikroORM's own uuid type takes upper case as well, on PostgreSQL.
  if (customType instanceof UuidType) return isUuid(typeof value === 'string' ? value.toLowerCase() : value)
  if (customType instanceof DecimalType || customType instanceof DoubleType) return isDecimal(value)
  if (customType instanceof BigIntType || (customType === undefined && runtimeType === 'number')) {
    const width = bits.find(([name]) => name.test(columnTypes?.[0] ?? ''))?.[1]
    return width === undefined ? isDecimal(value) : isWhole(value, dialect === 'sqlite' ? 64 : width)
  }
  // PostgreSQL compares no text with a number.
  if (customType === undefined && runtimeType === 'string') return typeof value === 'string' && isStorableText(value)
  return typeof value !== 'function' && typeof value !== 'symbol'
}

/** Whether MikroORM would read an object as a condition, `{ $ne: '' }` as "any other", instead of as a value. */
function isCondition(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return Array.isArray(value) || prototype === Object.prototype || prototype === null
}

function isWhole(value: unknown, width: number): boolean {
  const whole = typeof value === 'bigint' || Number.isInteger(value) || (typeof value === 'string' && wholeText.test(value))
  if (!whole) return false
  const number = BigInt(value as bigint | number | string)
  return BigInt.asIntN(width, number) === number
}

function isDecimal(value: unknown): boolean {
  return typeof value === 'string' ? decimalText.test(value) : typeof value === 'bigint' || Number.isFinite(value)
}
