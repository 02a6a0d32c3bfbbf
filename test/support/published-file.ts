import { appendFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import type { Publisher } from '../../src/outbox/publishing/publisher.ts'
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

/**
 * Publishes as a relay in a process of its own does: by appending lines to a file.
 *
 * @param before is waited for before each wave.
 */
export function filePublisher(file: string, before: () => Promise<void> = async () => {}): Publisher {
  return {
    name: 'file',
    publish: async (wave) => {
      await before()
      for (const { id, orderingKey: key, payload } of wave) appendFileSync(file, `${JSON.stringify({ id, key, payload })}\n`)
      return wave.map(() => ({ status: 'published' }))
    },
  }
}
