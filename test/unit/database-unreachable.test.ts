import { expect, test } from 'vitest'
import { databaseLost, databaseUnreachable } from '../../src/database/database-unreachable.ts'
import { parseDatabaseUrl } from '../../src/database/database-url.ts'

const address = parseDatabaseUrl('postgres://me:secret@host:5432/name')

test.each([
  ['3D000', 'database "name" does not exist', 'the database does not exist'],
  ['28P01', 'password authentication failed for user "me"', 'the password is wrong, or there is no such user'],
  ['28000', 'role "me" does not exist', 'there is no such user'],
  ['28000', 'no pg_hba.conf entry for host "10.0.0.1", user "me", database "name", no encryption', 'pg_hba.conf admits no such'],
  ['53300', 'sorry, too many clients already', 'no connection left'],
  ['57P03', 'the database system is starting up', 'try again in a moment'],
  ['ENOTFOUND', 'getaddrinfo ENOTFOUND host', 'the host is not known'],
  ['08P01', 'unsupported startup parameter: statement_timeout', 'leave that out, and set statement_timeout for the role'],
  ['XX000', 'postgres://me:secret@host said no', 'postgres://me:***@host said no'],
])('what PostgreSQL means by %s is told with a cure: %s', (code, message, words) => {
  const error = databaseUnreachable(address, Object.assign(new Error(message), { code }))
  expect(error).toMatchObject({ code: 'DATABASE_UNREACHABLE', message: expect.stringContaining(words), context: { code } })
  expect(error.message).toContain('postgres://me:***@host:5432/name')
  expect(error.message).not.toContain('secret')
})

test('what was told already is told once', () => {
  const refusal = Object.assign(new Error('nobody there'), { code: 'ECONNREFUSED' })
  const told = databaseUnreachable(address, databaseLost(address, refusal))
  expect(told.message).toBe(databaseUnreachable(address, refusal).message)
  expect(told.cause).toBe(refusal)
})
