import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { readInFlightNote, toInFlightNote } from '../../../src/outbox/store/in-flight-note.ts'

const near = fc.bigInt({ min: 1n, max: 60n })
const far = fc.bigInt({ min: 2n ** 62n, max: 2n ** 62n + 1000n })

describe('the note of what a relay has in hand', () => {
  test.each([
    ['near one another', near],
    ['too large for a number', far],
  ])('names exactly the events that were given: %s', (_, sequence) => {
    fc.assert(
      fc.property(fc.uniqueArray(sequence), (sequences) => {
        const written = JSON.stringify(toInFlightNote(sequences))
        const sorted = [...sequences].sort((one, other) => (one < other ? -1 : 1))
        expect(readInFlightNote(JSON.parse(written))).toEqual(sorted)
      }),
    )
  })

  test('is short: a run of events is one number, and a lone event one text', () => {
    expect(toInFlightNote([7n])).toEqual(['7'])
    expect(toInFlightNote([])).toEqual([])
    expect(toInFlightNote(Array.from({ length: 500 }, (_, n) => BigInt(1000 + n)))).toEqual(['1000', -499])
    expect(toInFlightNote([5n, 9n, 10n, 11n, 20n])).toEqual(['5', 4, -2, 9])
  })

  test('may name events by themselves, as a fetch that makes its own note does', () => {
    expect(readInFlightNote(['5', '9', '10'])).toEqual([5n, 9n, 10n])
    expect(readInFlightNote(['5', 4, '20', -2])).toEqual([5n, 9n, 20n, 21n, 22n])
  })
})
