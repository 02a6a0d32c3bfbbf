import { describe, expect, it } from 'vitest'
import { isUuid, Uuid } from '../../src/database/uuid.ts'

const id = '01890000-0000-7000-8000-00000000ffff'

describe('an id', () => {
  it('is a uuid in lower case and nothing else', () => {
    expect(isUuid(id)).toBe(true)
    for (const other of [id.toUpperCase(), `{${id}}`, id.replaceAll('-', ''), ` ${id}`, `${id}\n`, '', 7, null, undefined, {}]) {
      expect(isUuid(other)).toBe(false)
    }
  })

  it('that is none is refused with ID_INVALID, which does not repeat more than 64 characters', () => {
    const type = new Uuid()
    expect(type.convertToDatabaseValue(id)).toBe(id)
    expect(type.convertToDatabaseValue(null)).toBeNull()
    expect(() => type.convertToDatabaseValue('x'.repeat(1000))).toThrow(`"${'x'.repeat(64)}" is not an id`)
    expect(() => type.convertToDatabaseValue({} as string)).toThrow('A value of type object is not an id')
  })
})
