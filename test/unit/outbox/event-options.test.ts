import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { defineEvent } from '../../../src/outbox/define-event.ts'
import { makeEvent } from '../../../src/outbox/recorded-event.ts'

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
    [{ availableAt: '2030-01-01' }, 'a Date'],
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
