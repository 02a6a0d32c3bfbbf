import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { defineEvent } from '../../../src/outbox/event/define-event.ts'
import { EventDefinitions } from '../../../src/outbox/event/event-definitions.ts'
import { makeEvent } from '../../../src/outbox/event/recorded-event.ts'

const options = { type: 'NoteTagged', aggregate: 'Note', payload: z.number() }
const event = defineEvent(options)

describe('an option of an event', () => {
  test('that nobody knows is refused, with the nearest one', () => {
    expect(() => defineEvent({ ...options, versoin: 2 } as typeof options)).toThrow(
      expect.objectContaining({ code: 'OPTION_INVALID', message: expect.stringMatching(/defineEvent.*versoin.*version/) }),
    )
    // Passed over, it would leave the event in another order than was meant.
    expect(() => makeEvent(event, 'a', 1, { orderingkey: 'b' } as object)).toThrow(
      expect.objectContaining({ code: 'OPTION_INVALID', message: expect.stringMatching(/NoteTagged.*orderingkey.*orderingKey/) }),
    )
  })

  test.each([
    [{ orderingKey: 7 }, 'a string, or null'],
    [{ headers: { tenant: 7 } }, 'an object of strings'],
    [{ headers: null }, 'an object of strings'],
    [{ headers: ['x'] }, 'an object of strings'],
    [{ availableAt: '2030-01-01' }, 'a Date'],
    [{ availableAt: new Date(Number.NaN) }, 'an invalid Date'],
    [{ availableAt: new Date(8.64e15) }, 'between 1970 and 9999'],
    [{ availableAt: new Date(-8.64e15) }, 'between 1970 and 9999'],
  ])('of another kind, %j, is refused', (given, words) => {
    expect(() => makeEvent(event, 'a', 1, given as never)).toThrow(
      expect.objectContaining({ code: 'OPTION_INVALID', message: expect.stringContaining(words) }),
    )
  })

  test('may be left out, null for no order, or undefined', () => {
    expect(makeEvent(event, 'a', 1, { orderingKey: undefined, headers: { tenant: 't' } } as never).orderingKey).toBe('Note:a')
    expect(makeEvent(event, 'a', 1, { orderingKey: null }).orderingKey).toBeNull()
  })
})

test.each([undefined, null, 7, {}])('an aggregate that is %j is refused by name', (aggregate) => {
  expect(() => defineEvent({ ...options, aggregate } as never)).toThrow(
    expect.objectContaining({ code: 'EVENT_DEFINITION_INVALID', message: expect.stringMatching(/NoteTagged.*aggregate/) }),
  )
})

test.each([[{ encode: String }], [{ decode: Number }], [{ encode: String, decode: 'number' }], [String], [null]])(
  'half a codec, %j, is refused',
  (codec) => {
    expect(() => defineEvent({ ...options, codec } as never)).toThrow(
      expect.objectContaining({ code: 'OPTION_INVALID', message: expect.stringMatching(/codec.*encode and decode/) }),
    )
  },
)

describe('what is no event', () => {
  const refused = expect.objectContaining({
    code: 'EVENT_DEFINITION_INVALID',
    message: expect.stringMatching(/defineEvent\(\).*import each other/),
  })

  // An event of a file that is still being loaded is undefined to the other file of a circle.
  test.each([undefined, null, 'NoteTagged', {}])('is refused among the events of a module: %j', (given) => {
    expect(() => new EventDefinitions([event, given as never])).toThrow(refused)
  })

  test.each([undefined, null, 'NoteTagged', {}])('is refused when it is recorded: %j', (given) => {
    expect(() => new EventDefinitions([event]).require(given as never)).toThrow(refused)
  })
})

// PostgreSQL refuses the message in which a NUL stands, and with it the commit; half a surrogate pair comes back as another text.
describe.each([
  ['NUL', 'a\0b'],
  ['half a surrogate pair', 'a\ud800'],
])('%s is refused', (_, text) => {
  const refused = (code: string) => expect.objectContaining({ code, message: expect.stringContaining('neither NUL nor half') })

  test('in the names of an event', () => {
    expect(() => defineEvent({ ...options, type: text })).toThrow(refused('EVENT_DEFINITION_INVALID'))
    expect(() => defineEvent({ ...options, aggregate: text })).toThrow(refused('EVENT_DEFINITION_INVALID'))
  })

  test('in the id of its aggregate and in its key', () => {
    expect(() => makeEvent(event, text, 1, {})).toThrow(refused('EVENT_AGGREGATE_INVALID'))
    expect(() => makeEvent(event, 'a', 1, { orderingKey: text })).toThrow(refused('EVENT_AGGREGATE_INVALID'))
  })
})

test('a version is no greater than its column holds', () => {
  expect(defineEvent({ ...options, version: 2 ** 31 - 1 }).version).toBe(2_147_483_647)
  expect(() => defineEvent({ ...options, version: 2 ** 31 })).toThrow(
    expect.objectContaining({ code: 'EVENT_DEFINITION_INVALID', message: expect.stringContaining('2147483647') }),
  )
})

test('a schema that answers nothing is told', () => {
  const mute = { '~standard': { version: 1, vendor: 'test', validate: () => undefined } }
  const muted = defineEvent({ ...options, payload: mute as never })
  expect(() => makeEvent(muted, 'a', 1, {})).toThrow(
    expect.objectContaining({ code: 'EVENT_DEFINITION_INVALID', message: expect.stringContaining('{ value } or { issues }') }),
  )
})

test('a payload that lies too deep for readers of JSON is refused with its place', () => {
  const nested = (levels: number): unknown => Array.from({ length: levels }).reduce<unknown>((inner) => [inner], 1)
  const anything = defineEvent({ ...options, payload: z.unknown() })
  expect(makeEvent(anything, 'a', nested(500), {}).payloadJson).toMatch(/^\[{500}1/)
  for (const levels of [501, 20_000]) {
    expect(() => makeEvent(anything, 'a', nested(levels), {})).toThrow(
      expect.objectContaining({
        code: 'EVENT_PAYLOAD_NOT_JSON',
        message: expect.stringMatching(/payload(\[0\])+…?.*500 levels/),
      }),
    )
  }
})
