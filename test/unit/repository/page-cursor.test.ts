import { createHash } from 'node:crypto'
import { expect, it } from 'vitest'
import { openCursor, sealCursor } from '../../../src/repository/page-cursor.ts'

const invalid = expect.objectContaining({ code: 'PAGE_CURSOR_INVALID' })

it('a cursor gives its position back, for its own purpose alone', () => {
  const position = ['Größe ?', null, "it's"]
  const cursor = sealCursor(position, 'books by title')
  expect(encodeURIComponent(cursor)).toBe(cursor)
  expect(openCursor(cursor, 'books by title')).toEqual(position)
  expect(() => openCursor(cursor, 'books by id')).toThrow(invalid)
})

it.each(['{}', '[1]', '[{"$ne":null}]', '[["a"]]', '"x"', 'null', '['])(
  'a cursor of %s is refused, though its checksum fits',
  (text) => {
    const cursor = Buffer.from(text).toString('base64url')
    const checksum = createHash('sha256').update('books\n').update(cursor).digest('base64url').slice(0, 8)
    expect(() => openCursor(checksum + cursor, 'books')).toThrow(invalid)
  },
)
