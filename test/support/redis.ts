import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import { inject } from 'vitest'

/** A part of the shared Redis that belongs to one test file. */
export interface TestRedis {
  readonly url: string
  /** Begins every key and channel of this test file, and ends with a colon. */
  readonly prefix: string
  /** Deletes the keys under the prefix. */
  close(): Promise<void>
}

/** Opens a part of the real Redis for one test file; the prefix keeps it apart from all others. */
export async function openTestRedis(): Promise<TestRedis> {
  const url = inject('redisUrl')
  const prefix = `test-${randomUUID().slice(0, 8)}:`
  return { url, prefix, close: () => deleteKeys(url, prefix) }
}

async function deleteKeys(url: string, prefix: string): Promise<void> {
  const client = new Redis(url)
  try {
    for await (const keys of client.scanStream({ match: `${prefix}*`, count: 1000 })) {
      if (keys.length > 0) await client.unlink(keys)
    }
  } finally {
    await client.quit()
  }
}
