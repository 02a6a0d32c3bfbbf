import { afterAll, beforeAll, expect, it } from 'vitest'
import { createDataAccess } from '../../src/data-access.ts'
import { openTestDatabase, type TestDatabase } from '../support/databases.ts'

let database: TestDatabase
beforeAll(async () => {
  database = await openTestDatabase('postgresql')
})
afterAll(() => database.close())

const settings = async (url: string) => {
  const data = await createDataAccess({ database: { url }, cache: false })
  const names = ['application_name', 'search_path', 'statement_timeout', 'lock_timeout']
  const sql = `select ${names.map((name) => `current_setting('${name}') as ${name}`).join(', ')}, current_database() as name`
  const [row] = await data.fork().getConnection().execute(sql)
  await data.close()
  return row
}

it('the parameters of a URL reach the server', async () => {
  const query = 'application_name=shop&options=-c%20search_path%3Dapp&statement_timeout=2500&lock_timeout=700&connect_timeout=5'
  expect(await settings(`${database.url}?${query}`)).toMatchObject({
    application_name: 'shop',
    search_path: 'app',
    statement_timeout: '2500ms',
    lock_timeout: '700ms',
  })
})

it('the address may stand among the parameters', async () => {
  const { hostname, port, username, password, pathname } = new URL(database.url)
  const address = new URLSearchParams({ host: hostname, port: port || '5432', user: decodeURIComponent(username) })
  if (password !== '') address.set('password', decodeURIComponent(password))
  expect(await settings(`postgres://${pathname}?${address}`)).toMatchObject({ name: pathname.slice(1) })
})

it('one that would not be honoured is refused before anything is connected to', async () => {
  const opening = createDataAccess({ database: { url: 'postgres://me:secret@127.0.0.1:1/name?sslmodee=require' } })
  await expect(opening).rejects.toMatchObject({
    code: 'DATABASE_URL_INVALID',
    message: expect.stringContaining('sslmodee is not known; did you mean sslmode?'),
    context: { parameter: 'sslmodee' },
  })
})
