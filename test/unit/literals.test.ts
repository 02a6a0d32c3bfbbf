import fc from 'fast-check'
import pg from 'pg'
import { expect, it } from 'vitest'
import { literalOf } from '../../src/database/literals.ts'

it('a text is written as the driver itself would write it', () => {
  const awkward = fc.string({ unit: fc.constantFrom("'", '\\', '?', '$1', ':name', 'ä', '\n', '"', ' ') })
  fc.assert(
    fc.property(fc.oneof(awkward, fc.string({ unit: 'binary' })), (text) => {
      expect(literalOf(text)).toBe(pg.escapeLiteral(text))
    }),
  )
})
