/** Thrown for a value that cannot be written so that reading gives an equal one back; the reader then does without the cache. */
export class NotCacheable extends Error {}

/** What stands for a value that JSON does not know: a letter for its kind, and its text. */
type Tagged = readonly [kind: string, text: unknown]

const tag = '$'

/**
 * Writes a value of plain data as JSON, with tags for what JSON loses: Date, bigint, binary, undefined, -0, NaN and the
 * infinities. {@link decode} gives an equal value back, every time a new one.
 *
 * @throws NotCacheable for a function, symbol, class instance or cycle.
 */
export function encode(value: unknown): string {
  return JSON.stringify(pack(value, []))
}

/** Reads what {@link encode} wrote. */
export function decode(text: string): unknown {
  const value: unknown = JSON.parse(text)
  return text.includes(`"${tag}"`) ? unpack(value) : value
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
  const copied = { ...value } as Record<string, unknown>
  for (const key of Object.keys(copied)) {
    const item = copied[key]
    if (typeof item === 'object' && item !== null) define(copied, key, copy(item))
  }
  return copied
}

function pack(value: unknown, above: readonly object[]): unknown {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value
  if (typeof value === 'number') {
    return Number.isFinite(value) && !Object.is(value, -0) ? value : tagged('n', Object.is(value, -0) ? '-0' : String(value))
  }
  if (typeof value === 'bigint') return tagged('i', String(value))
  if (value === undefined) return tagged('v', 0)
  if (typeof value !== 'object') throw new NotCacheable(`A ${typeof value} cannot be cached`)
  if (value instanceof Date) return tagged('d', value.getTime())
  if (Buffer.isBuffer(value)) return tagged('b', value.toString('base64'))
  if (value instanceof Uint8Array) return tagged('u', Buffer.from(value).toString('base64'))
  if (above.includes(value)) throw new NotCacheable('A cycle cannot be cached')
  const path = [...above, value]
  if (Array.isArray(value)) return value.map((item) => pack(item, path))
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== null && prototype !== Object.prototype) {
    throw new NotCacheable(`An instance of ${value.constructor.name} cannot be cached`)
  }
  const packed = Object.fromEntries(Object.entries(value).map(([key, item]) => [key, pack(item, path)]))
  return tag in packed ? tagged('o', packed) : packed
}

/** Replaces a property's value. A property named __proto__ is one like any other. */
function define(object: Record<string, unknown>, key: string, value: unknown): void {
  if (key === '__proto__') Object.defineProperty(object, key, { value })
  else object[key] = value
}

function tagged(kind: string, text: unknown): { readonly [tag]: Tagged } {
  return { [tag]: [kind, text] }
}

function unpack(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  return tag in value && !Array.isArray(value) ? untag(value[tag] as Tagged) : unpackItems(value)
}

/** In place: what JSON.parse has made is nobody else's. */
function unpackItems(value: object): object {
  const items = value as Record<string, unknown>
  for (const key of Object.keys(items)) {
    const item = items[key]
    if (typeof item !== 'object' || item === null) continue
    const unpacked = unpack(item)
    if (unpacked !== item) define(items, key, unpacked)
  }
  return value
}

function untag([kind, text]: Tagged): unknown {
  switch (kind) {
    case 'n':
      return Number(text)
    case 'i':
      return BigInt(text as string)
    case 'd':
      return new Date(text === null ? Number.NaN : (text as number))
    case 'b':
      return Buffer.from(text as string, 'base64')
    case 'u':
      return new Uint8Array(Buffer.from(text as string, 'base64'))
    case 'o':
      return unpackItems(text as object)
    default:
      return undefined
  }
}
