import { createRequire } from 'node:module'
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { dialects, type TestDialect } from '../../support/databases.ts'
import { outboxGround } from '../../support/outbox-ground.ts'

/** Takes, from a connection of its own, the lock of an event's row, and gives it back; throws at once when anybody has it. */
interface Locker {
  lock(id: string): Promise<void>
  close(): Promise<void>
}

async function openLocker(dialect: TestDialect, url: string): Promise<Locker> {
  if (dialect === 'postgresql') {
    // A relay publishes events of several keys at a time.
    const pool = new pg.Pool({ connectionString: url })
    return {
      lock: async (id) => {
        const { rows } = await pool.query('select id from domain_events where id = $1 for update nowait', [id])
        if (rows.length !== 1) throw new Error(`Event ${id} is not there`)
      },
      close: () => pool.end(),
    }
  }
  const Database = createRequire(createRequire(import.meta.url).resolve('@mikro-orm/sqlite'))('better-sqlite3')
  const beside = new Database(url.replace('sqlite:', ''))
  beside.pragma('busy_timeout = 0')
  return {
    // There is one lock, of the whole file.
    lock: async () => {
      beside.exec('begin immediate')
      beside.exec('rollback')
    },
    close: async () => beside.close(),
  }
}

describe.each(dialects)('while a relay on %s publishes', (dialect) => {
  const ground = outboxGround(dialect)

  test.each(['keep', 'delete'] as const)('nothing holds a lock of the event, with retention %s', async (retention) => {
    const locker = await openLocker(dialect, ground.url)
    const refused: unknown[] = []
    const begun: string[] = []
    const ids: string[] = []
    for (const key of ['a', 'b', 'c']) ids.push(...(await ground.bench.record(key, [0, 1, 2])))
    const relay = ground.bench.outbox.relay({
      publisher: async ({ id, attempt, payload }) => {
        begun.push(id)
        await locker.lock(id).catch((error) => refused.push(error))
        // What failed before, and what others of its batch wait for, is locked no more than that.
        if (attempt === 1 && payload === 1) throw new Error('once more')
      },
      ...{ batchSize: 4, retention, retry: { baseMs: 1, maxMs: 5 }, pollInterval: { min: 5, max: 20 } },
    })
    await relay.start()
    const over = () => refused.length > 0 || relay.status().published === ids.length
    await expect.poll(over, { timeout: 15_000 }).toBe(true)
    expect(refused).toEqual([])
    expect(new Set(begun)).toEqual(new Set(ids))
    expect(begun).toHaveLength(ids.length + 3)
    await relay.stop()
    await locker.close()
  })
})
