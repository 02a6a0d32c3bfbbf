import { DataAccessError } from '../errors.ts'
import { isPlain } from './is-plain.ts'
import { nearestName } from './nearest-name.ts'

/** What the value of an option must be. A value of `undefined` stands for the default and is not asked. */
export interface Expectation {
  /** What to give instead, in words that follow "give". */
  readonly words: string
  fits(value: unknown): boolean
}

/** Every option that a door takes, and what its value must be. The compiler asks for all of them. */
export type KnownOptions<Options> = { readonly [Option in keyof Required<Options>]: Expectation }

/** Options of which any may be left out, or be `undefined`. */
export type Optional<Options> = { readonly [Option in keyof Options]?: Options[Option] | undefined }

/** Options with their defaults filled in. */
export type Complete<Options> = { readonly [Option in keyof Options]-?: Exclude<Options[Option], undefined> }

/** Where options stand, for the messages. */
export interface OptionPlace {
  /** The function that takes them: `createDataAccess`. */
  readonly door: string
  /** The option that holds these: `database.pool`. None when they are the door's own. */
  readonly under?: string
  /** For options that are often looked for here: where they stand instead. */
  readonly elsewhere?: Readonly<Record<string, string>>
}

export const text: Expectation = { words: 'a string', fits: (value) => typeof value === 'string' }
export const flag: Expectation = { words: 'true or false', fits: (value) => typeof value === 'boolean' }
export const list: Expectation = { words: 'an array', fits: Array.isArray }
export const callable: Expectation = { words: 'a function', fits: (value) => typeof value === 'function' }
export const record: Expectation = { words: 'an object', fits: isRecord }
/** For what is checked by whoever uses it. */
export const anything: Expectation = { words: 'a value', fits: () => true }

export function numberFrom(low: number, high: number, unit = ''): Expectation {
  return { words: `a number ${range(low, high)}${unit}`, fits: (value) => isNumber(value, low, high) }
}

export function wholeFrom(low: number, high = Number.MAX_SAFE_INTEGER): Expectation {
  return { words: `a whole number ${range(low, high)}`, fits: (value) => isNumber(value, low, high) && Number.isInteger(value) }
}

export function oneOf(...values: readonly (string | boolean)[]): Expectation {
  return { words: anyOf(values.map(describeValue)), fits: (value) => values.includes(value as string) }
}

export function either(one: Expectation, other: Expectation): Expectation {
  return { words: `${one.words}, or ${other.words}`, fits: (value) => one.fits(value) || other.fits(value) }
}

/**
 * Refuses options that a door does not know, since they would be ignored in silence, and values of another kind.
 *
 * @throws DataAccessError `OPTION_INVALID`, naming the option, the nearest known one, and all that are known.
 */
export function checkOptions<Options extends object>(
  { door, under, elsewhere = {} }: OptionPlace,
  given: Options,
  known: KnownOptions<Options>,
): void {
  const place = under === undefined ? '' : `${under}.`
  if (!isRecord(given)) {
    const what = under === undefined ? `${door} was given` : `${door}: ${under} is`
    throw new DataAccessError('OPTION_INVALID', `${what} ${describeValue(given)}; give an object of ${takes(known)}`)
  }
  for (const option of Object.keys(given)) {
    const expected = Object.hasOwn(known, option) ? (known as Record<string, Expectation>)[option] : undefined
    if (expected === undefined)
      throw unknownOption(`${door} has no option \`${place}${option}\``, option, given, known, elsewhere)
    const value = (given as Record<string, unknown>)[option]
    if (value === undefined || expected.fits(value)) continue
    throw new DataAccessError('OPTION_INVALID', `${door}: ${place}${option} is ${describeValue(value)}; give ${expected.words}`, {
      context: { option: `${place}${option}` },
    })
  }
}

function unknownOption(
  what: string,
  option: string,
  given: object,
  known: object,
  elsewhere: Readonly<Record<string, string>>,
): DataAccessError {
  const near = nearestName(option, Object.keys(known))
  const hint = Object.hasOwn(elsewhere, option)
    ? `; it belongs into ${elsewhere[option]}.`
    : near !== undefined
      ? `; did you mean \`${near}\`?`
      : // A whole object of another kind, such as an entity manager, is not a misspelled option.
        isPlain(given)
        ? '.'
        : `, and was given ${describeValue(given)}.`
  return new DataAccessError('OPTION_INVALID', `${what}${hint} It takes ${takes(known)}`, { context: { option } })
}

function takes(known: object): string {
  return Object.keys(known).join(', ')
}

function isRecord(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isNumber(value: unknown, low: number, high: number): boolean {
  return typeof value === 'number' && value >= low && value <= high
}

function range(low: number, high: number): string {
  return high >= Number.MAX_SAFE_INTEGER ? `from ${low}` : `from ${low} to ${high}`
}

function anyOf(words: readonly string[]): string {
  return words.length < 2 ? words.join() : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`
}

/** A value as a message may show it: a long string, or one that could be a URL, may hold a secret. */
export function describeValue(value: unknown): string {
  if (typeof value === 'string') return value.length <= 24 && !/[:@]/.test(value) ? `"${value}"` : 'a string'
  if (typeof value === 'function') return 'a function'
  if (Array.isArray(value)) return 'an array'
  if (typeof value !== 'object' || value === null) return String(value)
  return isPlain(value) ? 'an object' : `an instance of ${Object.getPrototypeOf(value).constructor?.name}`
}

/** @throws DataAccessError `OPTION_INVALID` for what is no function. */
export function requireFunction(door: string, given: unknown): void {
  if (typeof given === 'function') return
  throw new DataAccessError('OPTION_INVALID', `${door} was given ${describeValue(given)}; give a function`)
}
