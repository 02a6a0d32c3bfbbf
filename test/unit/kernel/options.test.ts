import { describe, expect, test } from 'vitest'
import { DataAccessError } from '../../../src/errors.ts'
import { nearestName } from '../../../src/kernel/nearest-name.ts'
import {
  callable,
  checkOptions,
  either,
  flag,
  list,
  numberFrom,
  oneOf,
  record,
  text,
  wholeFrom,
} from '../../../src/kernel/options.ts'

const known = {
  url: text,
  pool: record,
  max: wholeFrom(1, 10),
  waitMs: numberFrom(0, 100, ' milliseconds'),
  modules: list,
  once: flag,
  channel: either(text, callable),
  mode: oneOf('keep', 'delete', false),
}

function refusal(given: unknown, elsewhere: Readonly<Record<string, string>> = {}): string {
  try {
    checkOptions<object>({ door: 'open', elsewhere }, given as object, known)
  } catch (error) {
    if (!(error instanceof DataAccessError)) throw error
    expect(error.code).toBe('OPTION_INVALID')
    return error.message.replace(' (OPTION_INVALID)', '')
  }
  throw new Error('nothing was refused')
}

describe('options', () => {
  test('that are known and of their kind pass, as does undefined', () => {
    const good = { url: 'a', pool: {}, max: 10, waitMs: 0.5, modules: [], once: false, channel: () => 'a', mode: false as const }
    expect(() => checkOptions<object>({ door: 'open' }, good, known)).not.toThrow()
    expect(() => checkOptions<object>({ door: 'open' }, { url: undefined, max: undefined }, known)).not.toThrow()
  })

  test('that are unknown are refused, also with the value undefined, by the name that was probably meant', () => {
    const takes = 'It takes url, pool, max, waitMs, modules, once, channel, mode'
    expect(refusal({ chanel: 'a' })).toBe(`open has no option \`chanel\`; did you mean \`channel\`? ${takes}`)
    expect(refusal({ MODULES: undefined })).toContain('did you mean `modules`?')
    expect(refusal({ somethingElse: 1 })).toBe(`open has no option \`somethingElse\`. ${takes}`)
    expect(refusal({ toString: 1 })).toContain('no option `toString`')
  })

  test('that belong elsewhere are refused by the place where they belong', () => {
    expect(refusal({ host: 'a' }, { host: 'url' })).toContain('no option `host`; it belongs into url.')
  })

  test('of another kind are refused by what to give, without showing what could be a secret', () => {
    expect(refusal({ max: '5' })).toBe('open: max is "5"; give a whole number from 1 to 10')
    expect(refusal({ max: 1.5 })).toContain('max is 1.5')
    expect(refusal({ waitMs: Number.NaN })).toBe('open: waitMs is NaN; give a number from 0 to 100 milliseconds')
    expect(refusal({ modules: {} })).toBe('open: modules is an object; give an array')
    expect(refusal({ pool: null })).toBe('open: pool is null; give an object')
    expect(refusal({ pool: [] })).toContain('pool is an array')
    expect(refusal({ pool: 'redis://:secret@host' })).toBe('open: pool is a string; give an object')
    expect(refusal({ channel: 5 })).toBe('open: channel is 5; give a string, or a function')
    expect(refusal({ mode: 'keeps' })).toBe('open: mode is "keeps"; give "keep", "delete" or false')
  })

  test('that are no object of options at all are refused as such', () => {
    expect(refusal(null)).toContain('open was given null; give an object of url, ')
    expect(refusal('postgres://me:secret@host/db')).toContain('open was given a string')
    class Manager {
      readonly somethingOfItsOwn = 1
    }
    expect(refusal(new Manager())).toContain('was given an instance of Manager')
  })

  test('below another option are named by their path', () => {
    const place = { door: 'open', under: 'pool' }
    expect(() => checkOptions<object>(place, { maxx: 1 }, { max: text })).toThrow('`pool.maxx`; did you mean `max`?')
    expect(() => checkOptions<object>(place, { max: 1 }, { max: text })).toThrow('open: pool.max is 1; give a string')
    expect(() => checkOptions<object>(place, 5 as never, { max: text })).toThrow('open: pool is 5; give an object of max')
  })
})

test('a name is near within two changes for each five letters', () => {
  const names = ['database', 'modules', 'retry', 'url']
  expect(nearestName('databse', names)).toBe('database')
  expect(nearestName('retries', names)).toBe('retry')
  expect(nearestName('uri', names)).toBe('url')
  expect(nearestName('orm', names)).toBeUndefined()
  expect(nearestName('', names)).toBeUndefined()
})
