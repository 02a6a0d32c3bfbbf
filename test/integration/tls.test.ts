import { mkdtempSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { createDataAccess } from '../../src/data-access.ts'
import type { DatabaseOptions } from '../../src/database/database-options.ts'
import { makeCertificate } from '../support/certificate.ts'
import { openTestDatabase, type TestDatabase } from '../support/databases.ts'
import { openTlsDoor, type TlsDoor } from '../support/tls-door.ts'

describe('a PostgreSQL that speaks TLS', () => {
  const certificate = makeCertificate('localhost')
  const file = (name: string, content: string) => {
    const path = join(mkdtempSync(join(inject('runFolder'), 'tls-')), name)
    writeFileSync(path, content)
    return path
  }
  let database: TestDatabase
  let door: TlsDoor
  let ca: string
  let otherCa: string
  beforeAll(async () => {
    database = await openTestDatabase('postgresql')
    door = await openTlsDoor(Number(new URL(database.url).port || 5432), certificate)
    ca = file('ca.pem', certificate.cert)
    otherCa = file('other.pem', makeCertificate('localhost').cert)
  })
  afterAll(async () => {
    await door.close()
    await database.close()
  })

  const connect = async (query: string, host = 'localhost', more: DatabaseOptions = {}) => {
    const url = new URL(database.url)
    url.host = `${host}:${door.port}`
    const before = { encrypted: door.encrypted, plain: door.plain }
    const data = await createDataAccess({ database: { url: url.href + query, ...more }, cache: false })
    const [row] = await data.fork().getConnection().execute("select current_setting('application_name') as name")
    await data.close()
    const encrypted = door.encrypted - before.encrypted
    return { how: encrypted > 0 && door.plain === before.plain ? 'encrypted' : encrypted === 0 ? 'plain' : 'both', ...row }
  }
  const refusal = (words: string) =>
    expect.objectContaining({ code: 'DATABASE_UNREACHABLE', message: expect.stringContaining(words) })

  it.each(['sslmode=require', 'sslmode=no-verify', 'ssl=no-verify', 'sslmode=require&sslnegotiation=direct'])(
    'is spoken to in it by %s, whoever signed the certificate',
    async (query) => {
      expect(await connect(`?${query}`)).toMatchObject({ how: 'encrypted' })
    },
  )

  it('is spoken to in plain text where the URL says nothing, or so', async () => {
    expect(await connect('')).toEqual({ how: 'plain', name: '@innovateai/data-access' })
    expect(await connect('?sslmode=disable&application_name=shop')).toEqual({ how: 'plain', name: 'shop' })
    expect(await connect('?sslmode=require', 'localhost', { driverOptions: { ssl: false } })).toMatchObject({ how: 'plain' })
  })

  it('must show a certificate that somebody trusted signed', async () => {
    for (const query of ['?sslmode=verify-full', '?ssl=true', `?sslmode=verify-full&sslrootcert=${otherCa}`]) {
      await expect(connect(query)).rejects.toEqual(refusal('nobody who is trusted signed'))
    }
    await expect(connect(`?sslmode=require&sslrootcert=${otherCa}`)).rejects.toEqual(refusal('sslrootcert=/path/to/ca.pem'))
    for (const mode of ['require', 'verify-ca', 'verify-full']) {
      expect(await connect(`?sslmode=${mode}&sslrootcert=${ca}`)).toMatchObject({ how: 'encrypted' })
    }
  })

  it('must show one for its host, also for an address, where verify-full asks for that', async () => {
    await expect(connect(`?sslmode=verify-full&sslrootcert=${ca}`, '127.0.0.1')).rejects.toEqual(refusal('for another host'))
    expect(await connect(`?sslmode=verify-ca&sslrootcert=${ca}`, '127.0.0.1')).toMatchObject({ how: 'encrypted' })
  })
})

describe('a PostgreSQL that speaks no TLS', () => {
  it.each(['sslmode=require', 'sslmode=verify-full', 'ssl=true'])('is refused under %s', async (query) => {
    const opening = createDataAccess({ database: { url: `${inject('databaseUrl')}?${query}` } })
    await expect(opening).rejects.toMatchObject({
      code: 'DATABASE_UNREACHABLE',
      message: expect.stringContaining('speaks no TLS'),
    })
  })
})
