import { types } from 'node:util'

/** Makes an error of whatever was thrown, since JavaScript throws anything; an error stays itself. */
export function toError(thrown: unknown): Error {
  return isError(thrown) ? thrown : new Error(inWords(thrown), { cause: thrown })
}

/** What was thrown, in words: name and message, and those of its causes. Never throws itself. */
export function describeThrown(thrown: unknown): string {
  const parts: string[] = []
  for (let current: unknown = toError(thrown), depth = 0; current !== undefined && current !== null && depth < 8; depth++) {
    const text = isError(current) ? describeError(current) : inWords(current)
    // What `toError` made carries what was thrown as its cause, and says it already.
    if (parts.at(-1)?.includes(text) !== true) parts.push(text)
    current = isError(current) ? current.cause : undefined
  }
  return parts.join(' ← ')
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
