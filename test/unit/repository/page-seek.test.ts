import { describe, expect, it } from 'vitest'
import { exactText, seek } from '../../../src/repository/page-seek.ts'

const plain = { descends: false, nullsFirst: false, nullable: false }
const name = { ...plain, sql: 'name' }
const id = { ...plain, sql: 'id' }

describe('the condition of the rows after a position', () => {
  it('compares keys of one direction as one row', () => {
    expect(seek([name, id], ['a', '7'], 'postgresql')).toEqual({ sql: '(name, id) > (?, ?)', params: ['a', '7'] })
    expect(seek([{ ...id, descends: true }], ['7'], 'postgresql')).toEqual({ sql: 'id < ?', params: ['7'] })
  })

  it('goes key by key where directions differ', () => {
    expect(seek([{ ...name, descends: true }, id], ['a', '7'], 'postgresql')).toEqual({
      sql: '((name <= ?) and (name < ? or id > ?))',
      params: ['a', 'a', '7'],
    })
  })

  it.each([
    [true, ['a', '7'], '((name >= ?) and (name > ? or id > ?))', ['a', 'a', '7']],
    [true, [null, '7'], '(name is not null or id > ?)', ['7']],
    [false, ['a', '7'], '((name >= ? or name is null) and (name > ? or name is null or id > ?))', ['a', 'a', '7']],
    [false, [null, '7'], '(name is null and id > ?)', ['7']],
  ])('finds nulls where they are: first %s, after %j', (nullsFirst, position, sql, params) => {
    const nullable = { ...name, nullable: true, nullsFirst }
    expect(seek([nullable, id], position, 'postgresql')).toEqual({ sql, params })
  })

  it.each([
    [true, null, 'name is not null', []],
    [false, null, '1 = 0', []],
    [true, 'a', '(name > ?)', ['a']],
    [false, 'a', '(name > ? or name is null)', ['a']],
  ])('ends with a key that may be null: first %s, after %j', (nullsFirst, text, sql, params) => {
    expect(seek([{ ...name, nullable: true, nullsFirst }], [text], 'postgresql')).toEqual({ sql, params })
  })
})

describe('the text of a value', () => {
  it('is its text in PostgreSQL, and a literal in SQLite', () => {
    expect(exactText('at', 'postgresql')).toBe('(at)::text')
    expect(exactText('at', 'sqlite')).toBe("nullif(quote(at), 'NULL')")
  })

  it.each([
    ["'it''s ?'", { sql: 'id > ?', params: ["it's ?"] }],
    ["''", { sql: 'id > ?', params: [''] }],
    ['-9223372036854775808', { sql: 'id > -9223372036854775808', params: [] }],
    ['0.30000000000000004', { sql: 'id > 0.30000000000000004', params: [] }],
    ['9.0e+999', { sql: 'id > 9.0e+999', params: [] }],
    ["X'0AFF'", { sql: "id > X'0AFF'", params: [] }],
  ])('of SQLite, %s, becomes the same value again', (text, part) => {
    expect(seek([id], [text], 'sqlite')).toEqual(part)
  })

  it.each([
    ...['', 'id', '1 or 1 = 1', '1)', "'a' or 'a'", "'", "'a", "X'0'", "x'0A'", '0x7', '--', 'NULL', '1\n', '1;', "'a'\n", '?'],
  ])('that SQLite never writes, %j, gets into no statement', (text) => {
    expect(() => seek([id], [text], 'sqlite')).toThrow(expect.objectContaining({ code: 'PAGE_CURSOR_INVALID' }))
  })

  it('of another number of keys is refused', () => {
    for (const position of [[], ['1', '2']]) {
      expect(() => seek([id], position, 'postgresql')).toThrow(expect.objectContaining({ code: 'PAGE_CURSOR_INVALID' }))
    }
  })
})
