import pg from 'pg'
import { beforeEach, describe, expect, test } from 'vitest'
import { EventStore } from '../../../src/outbox/store/event-store.ts'
import { LeaseStore } from '../../../src/outbox/store/lease-store.ts'
import { OutboxStore } from '../../../src/outbox/store/outbox-store.ts'
import { type HeldEvent, ProgressStore } from '../../../src/outbox/store/progress-store.ts'
import { notesPerGeneration, RelayMarks } from '../../../src/outbox/store/relay-marks.ts'
import { dialects } from '../../support/databases.ts'
import { outboxGround } from '../../support/outbox-ground.ts'

const identity = { id: '0193a2b4-0000-7000-8000-000000000001', name: 'r', publisher: 'p' }
const rounds = process.env.SOAK === '1' ? 20_000 : 2000

describe.each(dialects)('the progress of a relay on %s', (dialect) => {
  const ground = outboxGround(dialect)

  test('goes on in order, each event once, over generations of its row', { timeout: 60_000 }, async () => {
    const count = 2 * notesPerGeneration + 50
    const payloads = Array.from({ length: count }, (_, n) => n)
    await ground.bench.record('a', payloads)
    const seen: unknown[] = []
    let generation = 0
    const relay = ground.bench.outbox.relay({
      batchSize: 1,
      publisher: async ({ payload }) => {
        seen.push(payload)
        if (payload !== count - 1) return
        const rows = await ground.bench.sql<{ generation: number }>('select generation from outbox_progress')
        expect(rows).toHaveLength(1)
        generation = rows[0]?.generation ?? 0
      },
    })
    expect(await relay.drain()).toMatchObject({ published: count })
    expect(seen).toEqual(payloads)
    expect(generation).toBe(2)
    expect(await ground.bench.sql('select relay from outbox_progress')).toEqual([])
  })
})

describe('the progress of a relay on PostgreSQL', () => {
  const ground = outboxGround('postgresql')
  let store: OutboxStore
  let marks: RelayMarks
  let progress: ProgressStore
  let held: HeldEvent[]

  beforeEach(async () => {
    store = new OutboxStore(ground.bench.data.orm)
    marks = new RelayMarks(identity.id)
    progress = new ProgressStore(store, marks)
    await new LeaseStore(store).heartbeat(identity, 60_000)
    await ground.bench.record('a', [1, 2, 3])
    const rows = await ground.bench.sql<{ id: string; bucket: number }>('select id, bucket from domain_events order by sequence')
    held = rows.map((row) => ({ ...row, epoch: 0 }))
  })
  const note = () => progress.noteInFlight(identity.id, [1n])
  /** An event that is published already is counted as any other. */
  const mark = (place = 0) => progress.markPublished([held[place] as HeldEvent], 'keep')
  /** Goes over to the next generation. */
  const turn = async () => {
    for (let n = 0; n <= notesPerGeneration; n++) await note()
  }

  test('tells redrives also where its generation was forgotten, by a crash or by a new registration', async () => {
    await turn()
    expect(await progress.redrivesSince(identity.id)).toBe(0)
    await ground.bench.sql('update outbox_progress set generation = 0, redrives = 1')
    expect(await progress.redrivesSince(identity.id)).toBe(1)
  })

  test('costs no more after many batches beside a transaction that keeps dead rows', { timeout: 600_000 }, async () => {
    const idle = new pg.Client({ connectionString: ground.url })
    idle.on('error', () => {})
    await idle.connect()
    await idle.query('begin isolation level repeatable read')
    await idle.query('select 1')
    for (let n = 0; n < rounds; n++) {
      await note()
      await mark()
    }
    const costs: number[] = []
    const explained = new OutboxStore(ground.bench.data.orm)
    explained.run = async (sql, params = []) => {
      const rows = await ground.bench.sql(`explain (analyze, buffers, format json) ${sql}`, params)
      // Each node tells what those below it looked at too.
      const blocks = [...JSON.stringify(rows).matchAll(/"Shared Hit Blocks":(\d+)/g)].map(([, hits]) => Number(hits))
      costs.push(Math.max(...blocks))
      return store.run(sql, params)
    }
    const asked = new ProgressStore(explained, marks)
    const shares = [{ bucket: held[1]?.bucket as number, after: 0n }]
    const ask = async () => {
      costs.length = 0
      await asked.noteInFlight(identity.id, [1n])
      await asked.markPublished([held[0] as HeldEvent], 'keep')
      await asked.redrivesSince(identity.id)
      const { note: noted } = await new EventStore(explained).fetchNoting({ shares, quota: 5, limit: 5 }, marks)
      expect(noted).toMatchObject({ redrives: 0 })
      await new LeaseStore(explained).look()
      expect(costs).toHaveLength(5)
    }
    // What a connection looks up once is not meant.
    for (let n = 0; n < 3; n++) await ask()
    expect(Math.max(...costs), costs.join(' ')).toBeLessThan(40)
    await idle.end()
  })

  test('is found by whoever has had no answer of the last generation', async () => {
    await turn()
    const before = new RelayMarks(identity.id)
    expect(await new ProgressStore(store, before).noteInFlight(identity.id, [1n])).toEqual({ redrives: 0, marks: 0 })
    expect([marks.generation, before.generation]).toEqual([1, 1])
  })

  test('tells of a redrive in a later generation', async () => {
    await turn()
    await ground.bench.sql('update outbox_progress set redrives = redrives + 1')
    expect(await note()).toEqual({ redrives: 1, marks: 0 })
    expect(await progress.redrivesSince(identity.id)).toBe(1)
  })

  test('whose last generation is undone with the marks before it lets no mark pass, and is found again', async () => {
    await mark(0)
    await turn()
    expect(await mark(1)).toEqual([])
    await ground.bench.sql('update outbox_progress set generation = 0, marks = 1')
    await ground.bench.sql("update domain_events set status = 'pending' where id = ?", [held[1]?.id])
    const { undoings } = marks
    expect(await mark(2)).toBe('undone')
    expect((await ground.bench.rows()).map(({ status }) => status)).toEqual(['published', 'pending', 'pending'])
    expect(marks.undoings).toBe(undoings + 1)
    expect(await note()).toEqual({ redrives: 0, marks: 1 })
    expect(marks.learn(1, marks.known)).toBe(true)
    expect([await mark(1), await mark(2), marks.known]).toEqual([[], [], 3])
  })

  test('of a relay that was taken for dead begins anew with its registration', async () => {
    await turn()
    for (const table of ['outbox_relays', 'outbox_progress']) await ground.bench.sql(`delete from ${table}`)
    expect(await note()).toEqual({ redrives: 0, marks: undefined })
    // Nobody's: the fence of its lease is enough.
    expect(await mark(0)).toEqual([])
    await new LeaseStore(store).heartbeat(identity, 60_000)
    expect(await note()).toEqual({ redrives: 0, marks: 0 })
    expect(await mark(1)).toEqual([])
  })
})
