import { randomUUID } from 'node:crypto'
import { createRequire } from 'node:module'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { type PublishFunction, permanent } from '../../../src/outbox/publishing/publisher.ts'
import type { RelayOptions } from '../../../src/outbox/relay/relay-options.ts'
import { ProgressStore } from '../../../src/outbox/store/progress-store.ts'
import { SettlementStore } from '../../../src/outbox/store/settlement-store.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../../support/databases.ts'
import { type OutboxUnderTest, openOutbox } from '../../support/outbox-bench.ts'

let database: TestDatabase
let bench: OutboxUnderTest
let told: unknown[]

async function open(dialect: (typeof dialects)[number]): Promise<void> {
  database = await openTestDatabase(dialect)
  bench = await openOutbox(database.url)
  told = []
}
afterEach(async () => {
  await bench.close()
  await database.close()
})

/** As another relay does that takes ours for dead, since the database's clock was set forward: ours cannot know. */
async function passOn(): Promise<void> {
  await bench.sql('update outbox_leases set owner = ?, epoch = epoch + 1', [randomUUID()])
}

function openRelay(publisher: PublishFunction, options: Pick<RelayOptions, 'batchSize' | 'retry'> = {}) {
  const relay = bench.outbox.relay({ publisher, retry: { attempts: 1 }, pollInterval: { min: 5, max: 20 }, ...options })
  relay.on('published', ({ events }) => void told.push(...events.map(({ payload }) => `published ${payload}`)))
  relay.on('retried', () => void told.push('retried'))
  relay.on('deadLettered', () => void told.push('dead'))
  relay.on('leaseLost', () => void told.push('lost'))
  return relay
}

/** Has the first move to the dead letters fail, whatever is done in its place. */
function loseMove(instead: (move: () => Promise<unknown>) => Promise<void>): void {
  const { moveToDeadLetters } = SettlementStore.prototype
  let lost = true
  SettlementStore.prototype.moveToDeadLetters = async function (writes, again) {
    const move = () => moveToDeadLetters.call(this, writes, again)
    if (!lost) return move()
    lost = false
    await instead(move)
    throw new Error('Connection terminated unexpectedly')
  }
  onTestFinished(() => {
    SettlementStore.prototype.moveToDeadLetters = moveToDeadLetters
  })
}

describe.each(dialects)('what the fence refuses a relay on %s', (dialect) => {
  beforeEach(() => open(dialect))

  test.each([
    ['a letter', 1],
    ['another try', 3],
  ])(
    'where it is to become %s is told as lost and as nothing else, is counted nowhere, and is not published again',
    async (_, attempts) => {
      let calls = 0
      const relay = openRelay(
        async ({ payload }) => {
          if (calls++ === 0) await passOn()
          if (payload === 1) throw new Error('bad')
        },
        { retry: { attempts } },
      )
      await bench.record('a', [1])
      await bench.record('b', [2])
      await relay.start()
      await expect.poll(() => told.length).toBeGreaterThan(0)
      await delay(500)
      expect(told).toEqual(['lost'])
      expect(calls).toBe(2)
      expect(relay.status()).toMatchObject({ published: 0, retried: 0, deadLettered: 0 })
      expect(await bench.outbox.deadLetters.list()).toEqual([])
      expect((await bench.rows()).map(({ status, attempts }) => `${status} ${attempts}`)).toEqual(['pending 0', 'pending 0'])
      await relay.stop({ deadline: 100 })
    },
  )

  test('holds back what follows it, also what was read before', async () => {
    for (const n of [1, 2, 3]) await bench.record('a', [n])
    const seen: unknown[] = []
    const relay = openRelay(
      async ({ payload }) => {
        seen.push(payload)
        if (payload !== 1) return
        await passOn()
        // Meanwhile the next one is read.
        await delay(100)
        throw permanent(new Error('bad'))
      },
      { batchSize: 1 },
    )
    await relay.start()
    await expect.poll(() => told).toEqual(['lost'])
    await delay(300)
    expect(seen).toEqual([1])
    await relay.stop({ deadline: 100 })
  })

  test('for another reason than its lease does not cost it the bucket', async () => {
    const { markPublished } = ProgressStore.prototype
    let refuses = true
    ProgressStore.prototype.markPublished = async function (events, mode) {
      if (!refuses) return markPublished.call(this, events, mode)
      refuses = false
      return events
    }
    onTestFinished(() => {
      ProgressStore.prototype.markPublished = markPublished
    })
    const relay = openRelay(() => {})
    await bench.record('a', [1])
    await relay.start()
    await expect.poll(() => told, { timeout: 3000 }).toEqual(['lost', 'published 1'])
    expect(relay.status().buckets).toHaveLength(64)
    await relay.stop()
  })

  test('does not make a letter again of one that was redriven before its move was repeated', async () => {
    loseMove(async (move) => {
      await move()
      await delay(5)
      await bench.outbox.deadLetters.redrive({ type: 'NoteTagged' })
    })
    let calls = 0
    const relay = openRelay(() => {
      if (calls++ === 0) throw permanent(new Error('bad'))
    })
    await bench.record('a', [1])
    await relay.start()
    await expect.poll(() => told, { timeout: 5000 }).toEqual(['published 1'])
    expect(await bench.outbox.deadLetters.list()).toEqual([])
    await relay.stop()
  })

  test('of a letter that was redriven before and fails again is told as a letter once, when it is one', async () => {
    const bad = () => {
      throw permanent(new Error('bad'))
    }
    await bench.record('a', [1])
    await openRelay(bad).drain()
    await delay(5)
    await bench.outbox.deadLetters.redrive({ type: 'NoteTagged' })
    // What is later in its key waits for it.
    await bench.record('a', [2])
    told = []
    loseMove(async () => {})
    const relay = openRelay(({ payload }) => (payload === 1 ? bad() : undefined))
    const letters: Promise<unknown>[] = []
    relay.on('deadLettered', () => void letters.push(bench.outbox.deadLetters.list()))
    await relay.start()
    await expect.poll(() => told, { timeout: 10_000 }).toEqual(['dead', 'published 2'])
    await delay(300)
    expect(told).toHaveLength(2)
    expect(await Promise.all(letters)).toEqual([[expect.objectContaining({ aggregateId: 'a' })]])
    expect(relay.status()).toMatchObject({ published: 1, deadLettered: 1 })
    await relay.stop()
  })

  test('is told as a letter once, when only the answer to its move was lost', async () => {
    loseMove(async (move) => void (await move()))
    const relay = openRelay(() => {
      throw permanent(new Error('bad'))
    })
    await bench.record('a', [1])
    await relay.start()
    await expect.poll(() => relay.status().deadLettered, { timeout: 5000 }).toBe(1)
    await delay(300)
    expect(told).toEqual(['dead'])
    expect(await bench.outbox.deadLetters.list()).toHaveLength(1)
    await relay.stop()
  })
})

describe('a move to the dead letters', () => {
  test('on PostgreSQL takes nothing that a new owner published before it', async () => {
    await open('postgresql')
    const other = new pg.Client({ connectionString: database.url })
    await other.connect()
    const { query } = pg.Client.prototype
    let once = true
    pg.Client.prototype.query = function (this: pg.Client, ...args: unknown[]) {
      const text = String((args[0] as { text?: string } | undefined)?.text ?? args[0])
      if (this === other || !once || !/delete from "?domain_events/.test(text)) return Reflect.apply(query, this, args)
      once = false
      const passOn = async () => {
        await Reflect.apply(query, other, ['update outbox_leases set epoch = epoch + 1'])
        await Reflect.apply(query, other, ["update domain_events set status = 'published', published_at = now()"])
        return Reflect.apply(query, this, args)
      }
      return passOn()
    } as typeof query
    onTestFinished(() => {
      pg.Client.prototype.query = query
    })
    await bench.record('a', [1])
    const relay = openRelay(() => {
      throw permanent(new Error('bad'))
    })
    await relay.start()
    await expect.poll(() => told).toEqual(['lost'])
    expect(once).toBe(false)
    expect(await bench.outbox.deadLetters.list()).toEqual([])
    expect((await bench.rows()).map(({ status }) => status)).toEqual(['published'])
    await relay.stop({ deadline: 100 })
    await other.end()
  })

  test('on SQLite goes through beside another process that writes', async () => {
    await open('sqlite')
    const Database = createRequire(createRequire(import.meta.url).resolve('@mikro-orm/sqlite'))('better-sqlite3')
    const beside = new Database(database.url.replace('sqlite:', ''))
    onTestFinished(() => beside.close())
    beside.pragma('busy_timeout = 0')
    const { prepare } = Database.prototype
    let refused = 0
    Database.prototype.prepare = function (text: string) {
      if (this !== beside && /insert into outbox_dead_letters/.test(text)) {
        try {
          prepare.call(beside, 'update outbox_sequence set value = value').run()
        } catch {
          refused++
        }
      }
      return prepare.call(this, text)
    }
    onTestFinished(() => {
      Database.prototype.prepare = prepare
    })
    await bench.record('a', [1])
    const relay = openRelay(function refusing() {
      throw permanent(new Error('bad'))
    })
    await relay.start()
    await expect.poll(() => told).toEqual(['dead'])
    // It had the database to itself, from before it read.
    expect(refused).toBe(1)
    expect(bench.logger.warnings).toEqual([])
    await relay.stop()
  })
})
