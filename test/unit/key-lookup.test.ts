import { describe, expect, it } from 'vitest'
import { keyLookups } from '../../src/database/key-lookup.ts'

describe('the keys that a query looks up', () => {
  it.each([
    ['a foreign key', 'select "a0".* from "air_scores" as "a0" where "a0"."user_id" in (?)', [['air_scores', 'user_id', 0]]],
    ['a primary key', 'select `u0`.* from `users` as `u0` where `u0`.`id` = ? limit ?', [['users', 'id', 0]]],
    [
      'one of a joined table, after other parameters',
      'select "b0".*, ? from "book_tags" as "b0" left join "tags" as "t1" on "b0"."tag_id" = "t1"."id" where "t1"."label" > ? and "b0"."book_id" = ?',
      [['book_tags', 'book_id', 2]],
    ],
    ['none for a list of several', 'select "a0".* from "air_scores" as "a0" where "a0"."user_id" in (?, ?)', []],
    ['none without a condition', 'select "u0".* from "users" as "u0"', []],
    ['none for a comparison', 'select "u0".* from "users" as "u0" where "u0"."id" > ? limit ?', []],
    ['none for a lock', 'select "u0".* from "users" as "u0" where "u0"."id" = ? for update', []],
    ['none for a write', 'update "users" set "name" = ? where "id" = ?', []],
    ['none for SQL of the application', 'select * from users where id = ?', []],
  ])('are %s', (_what, sql, expected) => {
    expect(keyLookups(sql).map(({ table, column, position }) => [table, column, position])).toEqual(expected)
  })
})
