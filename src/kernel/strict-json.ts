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
  const fault = inspect(value, new Set())
  if (fault === undefined) return undefined
  const whole = `${path}${fault.path}`
  return { path: fault.reason === tooDeep ? `${whole.slice(0, 40)}…` : whole, reason: fault.reason }
}

/** PostgreSQL, and the parsers of most languages, give up at some depth; this one is deeper than any sensible payload. */
const deepest = 500
const tooDeep = `lies deeper than ${deepest} levels, which readers of JSON refuse`

/** The fault's path begins at the value: only a fault pays for its text. */
function inspect(value: unknown, ancestors: Set<object>): JsonFault | undefined {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return undefined
    case 'number':
      return Number.isFinite(value) ? undefined : here(`is ${value}, which JSON turns into null`)
    case 'object':
      return value === null ? undefined : inspectObject(value, ancestors)
    default:
      return here(`is ${typeof value === 'undefined' ? 'undefined' : `a ${typeof value}`}, which JSON cannot carry`)
  }
}

function inspectObject(value: object, ancestors: Set<object>): JsonFault | undefined {
  if (ancestors.size >= deepest) return here(tooDeep)
  if (ancestors.has(value)) return here('refers back to an object that contains it')
  if ('toJSON' in value && typeof value.toJSON === 'function') {
    const invalidDate = value instanceof Date && Number.isNaN(value.getTime())
    return invalidDate
      ? here('is an invalid Date, which JSON turns into null')
      : inspect(value.toJSON(), new Set(ancestors).add(value))
  }
  if (value instanceof Map || value instanceof Set) return here(`is a ${value.constructor.name}, which JSON turns into {}`)
  ancestors.add(value)
  const fault = Array.isArray(value) ? inspectItems(value, ancestors) : inspectProperties(value, ancestors)
  ancestors.delete(value)
  return fault
}

function inspectItems(items: readonly unknown[], ancestors: Set<object>): JsonFault | undefined {
  for (let index = 0; index < items.length; index++) {
    const fault = inspect(items[index], ancestors)
    if (fault !== undefined) return { path: `[${index}]${fault.path}`, reason: fault.reason }
  }
  return undefined
}

function inspectProperties(value: object, ancestors: Set<object>): JsonFault | undefined {
  for (const [key, item] of Object.entries(value)) {
    const fault = item === undefined ? undefined : inspect(item, ancestors)
    if (fault !== undefined) return { path: `.${key}${fault.path}`, reason: fault.reason }
  }
  return undefined
}

function here(reason: string): JsonFault {
  return { path: '', reason }
}
