import { PolymorphicRef } from '@mikro-orm/core'
import { isPlain } from '../kernel/is-plain.ts'

/** Thrown for a value that cannot be written so that reading gives an equal one back; the reader then does without the cache. */
export class NotCacheable extends Error {}

/** Where a value stands that JSON does not know: a letter for its kind, and the keys that lead to it. */
type Place = readonly [kind: string, path: readonly (string | number)[]]

/** A place as it is read: without a key it is the value itself. */
interface KnownPlace {
  readonly kind: string
  readonly above: readonly (string | number)[]
  readonly key: string | number | undefined
}

/** Changes with the way in which values are written. */
export const codecVersion = 4

/** Begins a text with places; JSON begins with nothing like it. */
const marker = '~'

/**
 * Writes a value of plain data as JSON. What JSON loses stands in it as text, number or list: Date, bigint, binary, undefined, -0, NaN,
 * the infinities, and what a row has for a relation to one of several entities. A line before it tells the places of these. {@link decode} gives an equal value back, every time a new one.
 *
 * @throws NotCacheable, an `Error` that names the place, for a function, symbol, class instance or cycle.
 */
export function encode(value: unknown): string {
  const places: Place[] = []
  const text = JSON.stringify(pack(value, [], [], places))
  return places.length === 0 ? text : `${marker}${JSON.stringify(places)}\n${text}`
}

/** Reads what {@link encode} wrote. @throws SyntaxError for what is no JSON. */
export function decode(text: string): unknown {
  return decodeFrom(text, 0)
}

/** Like {@link decode}, for what stands behind something else. */
export function decodeFrom(text: string, start: number): unknown {
  if (!text.startsWith(marker, start)) return JSON.parse(text.slice(start))
  const { line, places } = placesAt(text, start)
  return restore(JSON.parse(text.slice(start + line.length)), places)
}

/**
 * Gives what would come back if the value were written and read: plain data that shares nothing with it.
 *
 * @throws NotCacheable as {@link encode} does.
 */
export function canonical(value: unknown): unknown {
  return decode(encode(value))
}

/** Gives an equal value that shares nothing with this one, which {@link decode} gave. */
export function copy(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(copy)
  if (value instanceof Date) return new Date(value.getTime())
  if (value instanceof Uint8Array) return Buffer.isBuffer(value) ? Buffer.from(value) : new Uint8Array(value)
  if (value instanceof PolymorphicRef) return new PolymorphicRef(value.discriminator, copy(value.id))
  const copied = { ...value } as Record<string, unknown>
  for (const key of Object.keys(copied)) {
    const item = copied[key]
    if (typeof item === 'object' && item !== null) define(copied, key, copy(item))
  }
  return copied
}

function pack(value: unknown, above: readonly object[], path: Place[1], places: Place[]): unknown {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value
  const placed = (kind: string, written: unknown) => {
    places.push([kind, path])
    return written
  }
  if (typeof value === 'number') {
    if (Number.isFinite(value) && !Object.is(value, -0)) return value
    return placed('n', Object.is(value, -0) ? '-0' : String(value))
  }
  if (typeof value === 'bigint') return placed('i', String(value))
  if (value === undefined) return placed('v', 0)
  if (typeof value !== 'object') throw new NotCacheable(`A ${typeof value}${standing(path)}`)
  if (value instanceof Date) return placed('d', value.getTime())
  if (Buffer.isBuffer(value)) return placed('b', value.toString('base64'))
  if (value instanceof Uint8Array) return placed('u', Buffer.from(value).toString('base64'))
  if (above.includes(value)) throw new NotCacheable(`A cycle${standing(path)}`)
  const inside = [...above, value]
  if (Array.isArray(value)) return value.map((item, index) => pack(item, inside, [...path, index], places))
  // The places within it come before its own, and are restored first.
  if (value instanceof PolymorphicRef) return placed('p', pack([value.discriminator, value.id], above, path, places))
  if (!isPlain(value)) throw new NotCacheable(`An instance of ${value.constructor?.name ?? 'a class'}${standing(path)}`)
  if (Object.getOwnPropertySymbols(value).length > 0) throw new NotCacheable(`A symbol as a name${standing(path)}`)
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, pack(item, inside, [...path, key], places)]))
}

function standing(path: Place[1]): string {
  return `${path.length === 0 ? '' : ` at ${path.join('.')}`} cannot be cached`
}

/** Replaces a property's value. A property named __proto__ is one like any other. */
export function define(object: Record<string | number, unknown>, key: string | number, value: unknown): void {
  if (key === '__proto__') Object.defineProperty(object, key, { value })
  else object[key] = value
}

/** The line of places that was read last: rows of one kind mostly have the same. */
let last: { readonly line: string; readonly places: readonly KnownPlace[] } = { line: `${marker}[]\n`, places: [] }

function placesAt(text: string, start: number): typeof last {
  if (text.slice(start, start + last.line.length) !== last.line) {
    const line = text.slice(start, text.indexOf('\n', start) + 1)
    const places = JSON.parse(line.slice(marker.length)) as readonly Place[]
    last = { line, places: places.map(([kind, path]) => ({ kind, above: path.slice(0, -1), key: path.at(-1) })) }
  }
  return last
}

/** In place: what JSON.parse has made is nobody else's. */
function restore(value: unknown, places: readonly KnownPlace[]): unknown {
  for (const { kind, key, above } of places) {
    if (key === undefined) return restored(kind, value)
    let holder = value as Record<string, unknown>
    for (const step of above) holder = holder[step] as Record<string, unknown>
    define(holder, key, restored(kind, holder[key]))
  }
  return value
}

function restored(kind: string, written: unknown): unknown {
  switch (kind) {
    case 'n':
      return Number(written)
    case 'i':
      return BigInt(written as string)
    case 'd':
      return new Date(written === null ? Number.NaN : (written as number))
    case 'b':
      return ownBuffer(written as string)
    case 'u':
      return new Uint8Array(Buffer.from(written as string, 'base64'))
    case 'p':
      return new PolymorphicRef(...(written as [discriminator: string, id: unknown]))
    default:
      return undefined
  }
}

/** Of a memory of its own: `Buffer.from()` takes a part of one that many share, all of which would stay for as long as one is kept. */
function ownBuffer(base64: string): Buffer {
  const buffer = Buffer.allocUnsafeSlow(Buffer.byteLength(base64, 'base64'))
  buffer.write(base64, 'base64')
  return buffer
}
