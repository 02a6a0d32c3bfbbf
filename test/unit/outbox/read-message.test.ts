import { expect, test } from 'vitest'
import { z } from 'zod'
import { defineEvent } from '../../../src/outbox/event/define-event.ts'
import { readStreamEntry } from '../../../src/publishers/redis-streams/stream-entry.ts'

const Paid = defineEvent({ type: 'Paid', aggregate: 'Bill', payload: z.object({ cents: z.number().int() }), version: 2 })
const message = { type: 'Paid', schemaVersion: 2, payload: { cents: 5, note: 'of a later producer' } }

test('a message is read by the schema of its definition', () => {
  const paid = Paid.read(message)
  expect(paid).toEqual({ cents: 5 })
  expect(paid?.cents.toFixed(2)).toBe('5.00')
})

test.each([{ type: 'Sent' }, { schemaVersion: 1 }])('one of another type or version, %j, is none of its', (other) => {
  expect(Paid.read({ ...message, ...other })).toBeUndefined()
})

test('one that does not fit is refused by name', () => {
  expect(() => Paid.read({ ...message, payload: { cents: 'five' } })).toThrow(
    expect.objectContaining({
      code: 'EVENT_PAYLOAD_REFUSED',
      message: expect.stringMatching(/"Paid".*in a message.*payload\.cents/),
    }),
  )
})

test('a codec decodes first, and what it throws is refused', () => {
  const codec = { encode: String, decode: (json: unknown) => BigInt(json as string) }
  const Counted = defineEvent({ type: 'Counted', aggregate: 'Bill', payload: z.bigint(), codec })
  const counted = { type: 'Counted', schemaVersion: 1, payload: '9007199254740993' }
  expect(Counted.read(counted)).toBe(9_007_199_254_740_993n)
  expect(() => Counted.read({ ...counted, payload: 'x' })).toThrow(
    expect.objectContaining({ code: 'EVENT_PAYLOAD_REFUSED', cause: expect.any(SyntaxError) }),
  )
})

test.each([[['hello', 'world']], [['id', '1', 'headers', '{}', 'payload', '{']]])(
  'an entry that is no event, %j, is refused',
  (fields) => {
    expect(() => readStreamEntry(fields)).toThrow(
      expect.objectContaining({ code: 'EVENT_PAYLOAD_REFUSED', message: expect.stringContaining('none of redisStreams()') }),
    )
  },
)
