import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { rootCertificates } from 'node:tls'
import { afterAll, describe, expect, test } from 'vitest'
import { postgresqlConfig } from '../../src/database/connection.ts'
import { checkDatabaseOptions, type DatabaseOptions } from '../../src/database/database-options.ts'
import { addressOf, parseDatabaseUrl } from '../../src/database/database-url.ts'

const folder = mkdtempSync(join(tmpdir(), 'tls-files-'))
const file = (name: string, content: string) => {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}
const ca = file('ca.pem', rootCertificates[0] as string)
const cert = file('cert.pem', rootCertificates[1] as string)
const key = file('key.pem', '-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n')
const noPem = file('no.pem', 'secret')
afterAll(() => rmSync(folder, { recursive: true }))

const configOf = (query: string, options: DatabaseOptions = {}, authority = 'me:secret@db.example:5432') => {
  const url = `postgres://${authority}/name${query}`
  return postgresqlConfig(parseDatabaseUrl(url), { ...options, url })
}
const driverOptionsOf = (query: string, options: DatabaseOptions = {}): Record<string, unknown> =>
  configOf(query, options).driverOptions
const refusalOf = (query: string): unknown => {
  try {
    return configOf(query)
  } catch (error) {
    return error
  }
}

describe('how a URL of PostgreSQL says to encrypt', () => {
  const unchecked = { rejectUnauthorized: false }
  const signer = { rejectUnauthorized: true, ca: rootCertificates[0], checkServerIdentity: expect.any(Function) }
  const client = { cert: rootCertificates[1], key: expect.stringContaining('PRIVATE KEY') }
  test.each([
    ['sslmode=disable', false],
    ['sslmode=no-verify', unchecked],
    ['sslmode=require', unchecked],
    ['uselibpqcompat=true&sslmode=require', unchecked],
    [`sslmode=require&sslrootcert=${ca}`, signer],
    [`sslmode=verify-ca&sslrootcert=${ca}`, signer],
    ['sslmode=verify-full', { rejectUnauthorized: true }],
    [`sslmode=verify-full&sslrootcert=${ca}`, { rejectUnauthorized: true, ca: rootCertificates[0] }],
    ['sslmode=verify-full&sslrootcert=system', { rejectUnauthorized: true, ca: expect.any(Array) }],
    [`sslrootcert=${ca}`, { rejectUnauthorized: true, ca: rootCertificates[0] }],
    [`sslmode=require&sslcert=${cert}&sslkey=${key}`, { ...unchecked, ...client }],
    ['ssl=true', { rejectUnauthorized: true }],
    ['ssl=1', { rejectUnauthorized: true }],
    ['ssl=false', false],
    ['ssl=0&sslmode=disable', false],
    ['ssl=no-verify', unchecked],
    ['ssl=true&sslmode=require', unchecked],
  ])('%s', (query, ssl) => {
    expect(driverOptionsOf(`?${query}`).ssl).toEqual(ssl)
  })

  test('a certificate is checked for an address too, where pg would check it for localhost', () => {
    const { driverOptions } = configOf('?sslmode=verify-full', {}, 'me@10.0.0.1')
    expect(driverOptions).toMatchObject({ ssl: { rejectUnauthorized: true, host: '10.0.0.1' } })
  })

  test('a URL that says nothing leaves it to pg, and its PGSSLMODE', () => {
    expect(driverOptionsOf('')).not.toHaveProperty('ssl')
  })

  test('what is said in driverOptions wins, and what is undefined there says nothing', () => {
    expect(driverOptionsOf('?sslmode=require', { driverOptions: { ssl: false } }).ssl).toBe(false)
    expect(driverOptionsOf('?sslmode=require', { driverOptions: { ssl: undefined } }).ssl).toEqual(unchecked)
  })

  test.each([
    ['sslmode=prefer', 'sslmode is prefer, with which a connection may fall back to plain text'],
    ['sslmode=allow', 'give require or verify-full to encrypt, or disable'],
    ['sslmode=', 'sslmode is ""; give disable, no-verify, require, verify-ca, verify-full'],
    ['sslmode=verify_full', 'sslmode is "verify_full"; give disable'],
    ['sslmode=verify-ca', 'which needs sslrootcert'],
    ['sslmode=require&sslrootcert=system', 'only sslmode=verify-full is safe'],
    ['ssl=require', 'ssl is "require"; give true or false'],
    ['ssl=true&sslmode=disable', 'ssl is true, and sslmode is disable; give sslmode alone'],
    ['uselibpqcompat=false&sslmode=require', "sslmode has libpq's meanings here"],
    [`sslcert=${cert}`, 'sslcert is there without sslkey'],
    [`sslkey=${key}`, 'sslkey is there without sslcert'],
    ['sslrootcert=/nowhere/ca.pem', 'names the file /nowhere/ca.pem, which cannot be read (ENOENT)'],
    [`sslrootcert=${noPem}`, 'which is no PEM file'],
    ['sslnegotiation=direct', 'goes with sslmode=require'],
    ['sslnegotiation=direct&sslmode=disable', 'goes with sslmode=require'],
    ['sslnegotiation=tls', 'sslnegotiation is "tls"; give postgres or direct'],
  ])('refuses %s', (query, words) => {
    expect(refusalOf(`?${query}`)).toMatchObject({ code: 'DATABASE_URL_INVALID', message: expect.stringContaining(words) })
  })
})

describe('the other parameters of a URL of PostgreSQL', () => {
  test.each([
    ['application_name=shop', { application_name: 'shop' }],
    ['options=-c%20search_path%3Dapp', { options: '-c search_path=app' }],
    ['connect_timeout=3', { connectionTimeoutMillis: 3000 }],
    ['statement_timeout=250&lock_timeout=100', { statement_timeout: 250, lock_timeout: 100 }],
    ['idle_in_transaction_session_timeout=5&query_timeout=6', { idle_in_transaction_session_timeout: 5, query_timeout: 6 }],
    ['keepalives=0&keepalives_idle=60', { keepAlive: false, keepAliveInitialDelayMillis: 60_000 }],
    ['channel_binding=prefer', { enableChannelBinding: true }],
    ['client_encoding=UTF8', {}],
    ['sslnegotiation=direct&sslmode=require', { sslnegotiation: 'direct' }],
  ])('%s', (query, options) => {
    expect(driverOptionsOf(`?${query}`)).toMatchObject(options)
  })

  test('a fallback name is left to pg, which asks PGAPPNAME first', () => {
    const options = driverOptionsOf('?fallback_application_name=shop')
    expect(options).toMatchObject({ fallback_application_name: 'shop' })
    expect(options).not.toHaveProperty('application_name')
  })

  test('options that say the same win', () => {
    const given = { pool: { acquireTimeoutMs: 1 }, statementTimeoutMs: 2, driverOptions: { application_name: 'mine' } }
    expect(driverOptionsOf('?connect_timeout=3&statement_timeout=4&application_name=shop', given)).toMatchObject({
      connectionTimeoutMillis: 1,
      statement_timeout: 2,
      application_name: 'mine',
    })
  })

  test('a socket, another port, user and password', () => {
    const { clientUrl, host, port, user, password } = configOf('?host=/var/run/pg&port=6543&user=you&password=p%40ss', {}, '')
    expect({ clientUrl, host, port, user, password }).toEqual({
      clientUrl: 'postgres:///name',
      host: '/var/run/pg',
      port: 6543,
      user: 'you',
      password: 'p@ss',
    })
    expect(configOf('', {}, 'me@[::1]:5432')).toMatchObject({ host: '::1' })
  })

  test.each([
    ['sslmodee=require', 'sslmodee is not known; did you mean sslmode? It takes sslmode, ssl, '],
    ['aplication_name=shop', 'did you mean application_name?'],
    ['target_session_attrs=read-write', 'leave it out, and name the primary as host'],
    ['no_such_thing=1', 'no_such_thing is not known. It takes sslmode'],
    ['toString=1', 'toString is not known'],
    ['schema=foo', 'schema is no parameter of it: for a schema write options=-c%20search_path%3Dname'],
    ['connection_limit=5', 'give database.pool.max'],
    ['connect_timeout=soon', 'connect_timeout is "soon"; give a whole number of seconds'],
    ['statement_timeout=9999999999', 'give a whole number of milliseconds'],
    ['port=0', 'give a whole number from 1 to 65535'],
    ['keepalives=yes', 'give 0 or 1'],
    ['channel_binding=require', 'sslmode=verify-full makes sure of the server'],
    ['client_encoding=LATIN1', 'give UTF8'],
    ['sslmode=require&sslmode=disable', 'sslmode stands there twice'],
    ['application_name=a#b', '# begins a part that says nothing here'],
  ])('refuses %s', (query, words) => {
    const error = refusalOf(`?${query}`) as Error
    expect(error).toMatchObject({ code: 'DATABASE_URL_INVALID', message: expect.stringContaining(words) })
    expect(error.message).toContain('postgres://me:***@db.example:5432/name')
  })
})

describe('an address in a message', () => {
  const printed = (url: string) => parseDatabaseUrl(url).printable
  test('masks a password only where there is one, and leaves the parameters out', () => {
    expect(printed('postgres://me@host/name')).toBe('postgres://me@host/name')
    expect(printed('postgres://me:secret@host/name?password=secret&options=x')).toBe('postgres://me:***@host/name')
    expect(printed('postgres:///name?host=/run/pg&password=secret')).toBe('postgres:///name at /run/pg')
  })

  test('does so too for the connection of an ORM', () => {
    const connected = (options: object) => addressOf({ getConnectionOptions: () => options } as never).printable
    const place = { host: 'host', port: 5432, database: 'name' }
    expect(connected({ ...place, user: 'me', password: 'secret' })).toBe('postgres://me:***@host:5432/name')
    expect(connected({ ...place, user: 'me', password: '' })).toBe('postgres://me@host:5432/name')
    expect(connected({ ...place, user: '', port: 0 })).toBe('postgres://host/name')
  })

  test('a URL of SQLite has no parameters, and says so', () => {
    expect(() => parseDatabaseUrl('sqlite:a.db?mode=ro')).toThrow('for SQLite a URL has no parameters')
    expect(() => parseDatabaseUrl('file::memory:?cache=shared')).toThrow('for SQLite a URL has no parameters')
  })
})

describe('driver options that would end the process', () => {
  test.each([
    [{ connection: { ssl: true } }, 'driverOptions.connection is an option of Knex'],
    [{ ssl: 'require' }, 'driverOptions.ssl is "require"; give true, false'],
    [{ ssl: 1 }, 'driverOptions.ssl is 1; give true, false'],
  ])('are refused: %o', (driverOptions, words) => {
    expect(() => checkDatabaseOptions({ driverOptions })).toThrow(words)
  })

  test('are not those that pg takes', () => {
    for (const ssl of [true, false, {}, 'no-verify', undefined]) checkDatabaseOptions({ driverOptions: { ssl } })
  })
})
