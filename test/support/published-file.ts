import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { openTestDatabase, type TestDialect } from './databases.ts'
import { openOutbox } from './outbox-bench.ts'

/** An outbox for one test, and the file in which processes of relays write down what they publish. */
export async function openOutboxWithFile(dialect: TestDialect) {
  const database = await openTestDatabase(dialect)
  onTestFinished(() => database.close())
  const bench = await openOutbox(database.url)
  onTestFinished(() => bench.close())
  const folder = mkdtempSync(join(tmpdir(), 'data-access-relay-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return { database, bench, file: join(folder, 'published.jsonl') }
}
