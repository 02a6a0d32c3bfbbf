import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { inject } from 'vitest'

/** The dialects that every test of the database runs on: `describe.each(dialects)('… on %s', (dialect) => …)`. */
export const dialects = ['sqlite', 'postgresql'] as const
export type TestDialect = (typeof dialects)[number]

/** An empty database that belongs to one test file. */
export interface TestDatabase {
  /** As `createDataAccess({ database: { url } })` takes it. */
  readonly url: string
  /** Drops the database, with whoever is still connected, or removes the file. */
  close(): Promise<void>
}

/** Makes an empty database: a file of SQLite, or a database of the real PostgreSQL. */
export async function openTestDatabase(dialect: TestDialect): Promise<TestDatabase> {
  return dialect === 'sqlite' ? openSqliteFile() : openPostgresqlDatabase()
}

function openSqliteFile(): TestDatabase {
  const folder = mkdtempSync(join(inject('runFolder'), 'sqlite-'))
  return {
    url: `sqlite:${join(folder, 'test.db')}`,
    close: async () => rmSync(folder, { recursive: true, force: true }),
  }
}

async function openPostgresqlDatabase(): Promise<TestDatabase> {
  const server = inject('databaseUrl')
  const name = `test_${randomUUID().replaceAll('-', '')}`
  await runOnServer(server, `create database ${name}`)
  const url = new URL(server)
  url.pathname = `/${name}`
  return { url: url.href, close: () => runOnServer(server, `drop database if exists ${name} with (force)`) }
}

async function runOnServer(url: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}
