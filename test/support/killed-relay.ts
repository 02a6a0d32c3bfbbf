import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect } from 'vitest'
import type { TestDialect } from './databases.ts'
import { outboxGround } from './outbox-ground.ts'
import { filePublisher } from './published-file.ts'
import { type ChildOptions, findInversion, readDeliveries, startRelayProcess } from './relay-process.ts'

/** Gives each test 24 events of six keys, and relays in processes of their own to be killed. */
export function killedRelayGround(dialect: TestDialect) {
  const outbox = outboxGround(dialect)
  let folder: string
  let file: string
  let ids: string[]

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'data-access-relay-'))
    file = join(folder, 'published.jsonl')
    ids = []
    for (const payload of [0, 1, 2, 3]) {
      for (const key of ['a', 'b', 'c', 'd', 'e', 'f']) ids.push(...(await outbox.bench.record(key, [payload])))
    }
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true }))

  const start = (options: Partial<ChildOptions>) =>
    startRelayProcess({ url: outbox.url, file, leaseMs: 300, batchSize: 8, slowMs: 0, ...options })
  const published = () => readDeliveries(file)
  const unmarked = async () => {
    const pending = new Set((await outbox.bench.rows()).filter(({ status }) => status === 'pending').map(({ id }) => id))
    return new Set(published().flatMap(({ id }) => (pending.has(id) ? [id] : [])))
  }
  return {
    get bench() {
      return outbox.bench
    },
    /** Of all events that were recorded. */
    get ids() {
      return ids
    },
    start,
    /** What was published, in order. */
    published,
    /** The ids of what was published and has no mark. */
    unmarked,
    /** Runs a relay until it is dead; tells which events it published without a mark that lasted. */
    killOne: async (options: Partial<ChildOptions>) => {
      const child = await start(options)
      expect(await child.ended).toBe('SIGKILL')
      return unmarked()
    },
    deliverTheRest: async () => {
      const relay = outbox.bench.outbox.relay({
        publisher: filePublisher(file),
        batchSize: 8,
        pollInterval: { min: 5, max: 50 },
      })
      await relay.drain()
    },
    /** Of what came more than once. */
    repeated: () => {
      const all = published().map(({ id }) => id)
      return new Set(all.filter((id, index) => all.indexOf(id) !== index))
    },
    allInOrder: () => {
      expect(new Set(published().map(({ id }) => id))).toEqual(new Set(ids))
      expect(findInversion(published())).toBeUndefined()
    },
  }
}
