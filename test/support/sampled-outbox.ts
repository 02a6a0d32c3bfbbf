import { onTestFinished } from 'vitest'
import { openTestDatabase } from './databases.ts'
import { type OutboxUnderTest, openOutbox } from './outbox-bench.ts'
import { listStatements } from './sent-statements.ts'

export interface SampledOutbox {
  readonly bench: OutboxUnderTest
  readonly url: string
  /** How many samples of the sequence the relays of this process have taken for their watermarks, of the statements from a place on. */
  samples(since?: number): number
  /** How many statements this process has sent. */
  sent(): number
}

/** Opens an outbox on PostgreSQL until the test has finished, and counts how often relays look how far its sequence is. */
export async function openSampledOutbox(): Promise<SampledOutbox> {
  const statements = listStatements()
  onTestFinished(() => statements.end())
  const database = await openTestDatabase('postgresql')
  onTestFinished(() => database.close())
  const bench = await openOutbox(database.url)
  onTestFinished(() => bench.close())
  return {
    bench,
    url: database.url,
    samples: (since = 0) =>
      statements.sent.slice(since).filter(({ text, rows }) => text.includes('as holders from') && rows === 1).length,
    sent: () => statements.sent.length,
  }
}
