import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { dialects, openTestDatabase, type TestDatabase } from '../../support/databases.ts'
import { type OutboxUnderTest, openOutbox } from '../../support/outbox-bench.ts'
import { filePublisher } from '../../support/published-file.ts'
import { markKept } from '../../support/relay-failpoints.ts'
import {
  type ChildOptions,
  findInversion,
  type RelayProcess,
  readDeliveries,
  startRelayProcess,
} from '../../support/relay-process.ts'
import { repeats } from '../../support/repeats.ts'

// Processes start slowly on a machine that is busy.
vi.setConfig({ testTimeout: 120_000 })

describe.each(dialects)('relays in processes of their own on %s', (dialect) => {
  let database: TestDatabase
  let bench: OutboxUnderTest
  let folder: string
  let file: string
  const processes: RelayProcess[] = []

  beforeEach(async () => {
    database = await openTestDatabase(dialect)
    bench = await openOutbox(database.url)
    folder = mkdtempSync(join(tmpdir(), 'data-access-relay-'))
    file = join(folder, 'published.jsonl')
  })
  afterEach(async () => {
    for (const child of processes.splice(0)) {
      child.signal('SIGKILL')
      await child.ended
    }
    await bench.close()
    await database.close()
    rmSync(folder, { recursive: true, force: true })
  })

  const start = async (options: Partial<ChildOptions> = {}) => {
    const child = await startRelayProcess({ url: database.url, file, leaseMs: 600, batchSize: 50, slowMs: 0, ...options })
    processes.push(child)
    return child
  }
  const published = () => readDeliveries(file)
  const pending = async () => {
    const [row] = await bench.sql<{ n: number | string }>("select count(*) as n from domain_events where status = 'pending'")
    return Number(row?.n)
  }
  const until = (condition: () => boolean | Promise<boolean>, timeout = 60_000) =>
    expect.poll(condition, { interval: 20, timeout }).toBe(true)

  test('killed between publish and mark, the next relay publishes the same ids again, in order', async () => {
    const ids = await bench.record('a', [0, 1, 2, 3, 4])
    const first = await start({ killAfter: 2 })
    expect(await first.ended).toBe('SIGKILL')
    expect(published().map(({ payload }) => payload)).toEqual([0, 1, 2])
    expect(await pending()).toBe(5)
    await start()
    await until(async () => (await pending()) === 0)
    expect(published().map(({ payload }) => payload)).toEqual([0, 1, 2, 0, 1, 2, 3, 4])
    expect(new Set(published().map(({ id }) => id))).toEqual(new Set(ids))
    expect((await bench.rows()).every(({ attempts }) => attempts === 0)).toBe(true)
  })

  test('an event that kills the process is found and isolated; its neighbours arrive and spend no attempt', async () => {
    for (const key of ['a', 'b', 'c', 'd']) await bench.record(key, [0, 1])
    await bench.record('poison', ['poison'])
    await bench.record('poison', [1])
    let crashes = 0
    while (crashes < 8) {
      const child = await start({ killBefore: 'poison', leaseMs: 300 })
      const signal = await Promise.race([child.ended, until(async () => (await pending()) === 0).then(() => null)])
      if (signal === null) break
      crashes++
    }
    expect(crashes).toBeGreaterThanOrEqual(3)
    expect(crashes).toBeLessThanOrEqual(5)
    const letters = await bench.sql<{ payload: string; error: string }>(
      'select cast(payload as text) as payload, error from outbox_dead_letters',
    )
    expect(letters).toMatchObject([{ payload: '"poison"', error: expect.stringContaining('RELAY_CRASHED') }])
    const rows = await bench.rows()
    expect(rows).toHaveLength(9)
    expect(rows.every(({ attempts, status }) => attempts === 0 && status === 'published')).toBe(true)
  })

  test('1, 3, 2, 4 relays share the buckets without a gap, an inversion or a double publish', { repeats }, async () => {
    let written = 0
    let writing = true
    const keys = Array.from({ length: 24 }, (_, n) => `k${n}`)
    const writer = (async () => {
      while (writing) {
        await bench.data.unitOfWork(async () => {
          for (const key of keys) await bench.record(key, [written])
        })
        written++
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
    })()
    const owners = async () => {
      const rows = await bench.sql<{ n: number | string }>(
        'select count(*) as n from outbox_leases where owner is not null group by owner order by 1',
      )
      return rows.map(({ n }) => Number(n)).join(' ')
    }
    // A lease so long that no relay of a busy machine loses one: what is counted here is the handing over.
    const startCalm = () => start({ leaseMs: 4000 })
    const crowd: RelayProcess[] = []
    crowd.push(await startCalm())
    await until(async () => (await owners()) === '64')
    crowd.push(await startCalm(), await startCalm())
    await until(async () => (await owners()) === '20 22 22')
    await crowd.shift()?.stop()
    await until(async () => (await owners()) === '32 32')
    crowd.push(await startCalm(), await startCalm())
    await until(async () => (await owners()) === '16 16 16 16')
    writing = false
    await writer
    await until(async () => (await pending()) === 0)
    for (const child of crowd) await child.stop()
    expect(findInversion(published())).toBeUndefined()
    expect(published()).toHaveLength(written * keys.length)
    expect(new Set(published().map(({ id }) => id)).size).toBe(written * keys.length)
  })

  test('the late mark of a relay that stood still changes nothing while the next one publishes, and is reported', {
    repeats,
  }, async () => {
    const ids = await bench.record('a', [0, 1, 2, 3, 4])
    const frozen = await start({ leaseMs: 1000, failpoint: { statement: markKept, when: 'before', signal: 'SIGSTOP' } })
    await until(() => published().length > 0)
    const gate = Promise.withResolvers<void>()
    const waves = vi.fn(() => gate.promise)
    const next = bench.outbox.relay({
      publisher: filePublisher(file, waves),
      ...{ lease: 120_000, publishTimeout: 60_000, pollInterval: { min: 5, max: 50 } },
    })
    await next.start()
    await until(() => waves.mock.calls.length === 1)
    const before = published()
    frozen.signal('SIGCONT')
    await until(() => frozen.messages.includes('lease lost'))
    // Behind its mark, whichever way it learnt of its loss.
    await frozen.stop()
    expect((await bench.rows()).map(({ status, attempts }) => `${status} ${attempts}`)).toEqual(ids.map(() => 'pending 0'))
    gate.resolve()
    await until(async () => (await pending()) === 0)
    expect(published().map(({ id }) => id)).toEqual([...before.map(({ id }) => id), ...ids])
  })
})
