import { types } from 'node:util'

/** Where getters or proxies throw, or values have no text. */
const unnamed = 'an error that cannot be put into words'

/**
 * Makes an error of whatever was thrown, since JavaScript throws anything; an error stays itself, if it can be put into words. Never
 * throws itself.
 */
export function toError(thrown: unknown): Error {
  const parts: string[] = []
  try {
    tell(thrown, parts)
    return isError(thrown) ? thrown : new Error(inWords(thrown), { cause: thrown })
  } catch {
    // Without it as its cause: whoever logs that would meet the same.
    return new Error(upTo(parts))
  }
}

/** What was thrown, in words: name and message, and those of its causes. Never throws itself. */
export function describeThrown(thrown: unknown): string {
  const parts: string[] = []
  try {
    tell(thrown, parts)
    return parts.join(' ← ')
  } catch {
    return upTo(parts)
  }
}

function upTo(parts: readonly string[]): string {
  return [...parts, unnamed].join(' ← ')
}

/** Adds what it can tell to the parts, and then throws what a getter or a proxy throws. */
function tell(thrown: unknown, parts: string[]): void {
  let current = thrown
  for (let depth = 0; depth < 8 && (depth === 0 || (current !== undefined && current !== null)); depth++) {
    const error = isError(current) ? current : undefined
    const text = error === undefined ? inWords(current) : describeError(error)
    // What `toError` made carries what was thrown as its cause, and says it already.
    if (parts.at(-1)?.includes(text) !== true) parts.push(depth === 0 && error === undefined ? `Error: ${text}` : text)
    current = error?.cause
  }
}

function isError(thrown: unknown): thrown is Error {
  // An error of another realm, such as a `vm` context, is an instance of another class.
  return thrown instanceof Error || types.isNativeError(thrown)
}

function describeError(error: Error): string {
  const { name, message } = error as { readonly name: unknown; readonly message: unknown }
  if (message !== '') return `${String(name)}: ${String(message)}`
  // A refused connection is one of these: an AggregateError of the addresses tried, with a code and no message.
  const code = codeOf(error)
  return code === undefined ? `${String(name)} without a message` : `${String(name)}: ${code}`
}

function inWords(thrown: unknown): string {
  if (typeof thrown === 'string' && thrown.trim() !== '') return thrown
  if (typeof thrown === 'string') return 'an empty string was thrown'
  if (typeof thrown === 'function') return 'a function was thrown'
  if (typeof thrown !== 'object' || thrown === null) return `${String(thrown)} was thrown`
  // Some libraries throw objects that only look like errors.
  if ('message' in thrown && typeof thrown.message === 'string' && thrown.message !== '') return thrown.message
  // No values: one of them may be a secret.
  const code = codeOf(thrown)
  const facts = [`an object with ${Object.keys(thrown).join(', ') || 'no properties'} was thrown`]
  return (code === undefined ? facts : [code, ...facts]).join(': ')
}

function codeOf(thrown: object): string | undefined {
  const code = 'code' in thrown ? thrown.code : undefined
  return typeof code === 'string' || typeof code === 'number' ? String(code) : undefined
}
