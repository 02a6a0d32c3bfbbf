/** Where a value cannot be carried by JSON, and why. */
export interface JsonFault {
  /** The place, like `payload.items[2].total`. */
  readonly path: string
  readonly reason: string
}

/**
 * Finds the first thing in a value that `JSON.stringify` would refuse, drop or change in silence: a function, a symbol, a
 * BigInt, a number that is not finite, a cycle, a Map or a Set, `undefined` in an array; or what lies so deep that readers of
 * JSON run out of stack. An `undefined` property counts as
 * absent, and whatever has a `toJSON` is judged by what that returns.
 */
export function findJsonFault(value: unknown, path: string): JsonFault | undefined {
  return inspect(value, path, new Set())
}

function inspect(value: unknown, path: string, ancestors: Set<object>): JsonFault | undefined {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return undefined
    case 'number':
      return Number.isFinite(value) ? undefined : { path, reason: `is ${value}, which JSON turns into null` }
    case 'object':
      return value === null ? undefined : inspectObject(value, path, ancestors)
    default:
      return { path, reason: `is ${typeof value === 'undefined' ? 'undefined' : `a ${typeof value}`}, which JSON cannot carry` }
  }
}

/** PostgreSQL, and the parsers of most languages, give up at some depth; this one is deeper than any sensible payload. */
const deepest = 500

function inspectObject(value: object, path: string, ancestors: Set<object>): JsonFault | undefined {
  if (ancestors.size >= deepest) {
    return { path: `${path.slice(0, 40)}…`, reason: `lies deeper than ${deepest} levels, which readers of JSON refuse` }
  }
  if (ancestors.has(value)) return { path, reason: 'refers back to an object that contains it' }
  if ('toJSON' in value && typeof value.toJSON === 'function') {
    const invalidDate = value instanceof Date && Number.isNaN(value.getTime())
    return invalidDate
      ? { path, reason: 'is an invalid Date, which JSON turns into null' }
      : inspect(value.toJSON(), path, new Set(ancestors).add(value))
  }
  if (value instanceof Map || value instanceof Set) {
    return { path, reason: `is a ${value.constructor.name}, which JSON turns into {}` }
  }
  ancestors.add(value)
  const entries = Array.isArray(value)
    ? Array.from(value, (item: unknown, index) => [`${path}[${index}]`, item] as const)
    : Object.entries(value).flatMap(([key, item]) => (item === undefined ? [] : [[`${path}.${key}`, item] as const]))
  for (const [itemPath, item] of entries) {
    const fault = inspect(item, itemPath, ancestors)
    if (fault !== undefined) return fault
  }
  ancestors.delete(value)
  return undefined
}
