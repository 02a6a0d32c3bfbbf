import { expect, onTestFinished, test } from 'vitest'
import type { UnitFigures } from '../../../src/unit-of-work/unit-figures.ts'
import { createCounters, crossedKeys, lost, slowInserts } from '../../support/counters-module.ts'
import { dialects } from '../../support/databases.ts'
import { countDeadlocks } from '../../support/deadlocks.ts'
import { repository, runWell } from '../../support/programs.ts'
import { openOutboxWithFile } from '../../support/published-file.ts'
import { type Delivery, findInversion, readDeliveries, startRelayProcess } from '../../support/relay-process.ts'
import { repeats } from '../../support/repeats.ts'

const writers = 4
const units = 5

interface Row {
  readonly id: string
  readonly ordering_key: string
  readonly payload: string
}

test.each(dialects)(
  'two relays publish beside writers of several keys in the order of their commits, on %s',
  { timeout: 120_000, repeats },
  async (dialect) => {
    const { database, bench, file } = await openOutboxWithFile(dialect)
    const { rows } = crossedKeys()
    await bench.sql(createCounters)
    if (dialect === 'postgresql') for (const statement of slowInserts) await bench.sql(statement)
    for (const id of rows) await bench.sql('insert into counters (id) values (?)', [id])

    // A lease so long that no relay of a busy machine loses one.
    const relay = { url: database.url, file, leaseMs: 10_000, batchSize: 20, slowMs: 0 }
    const relays = await Promise.all([startRelayProcess(relay), startRelayProcess(relay)])
    onTestFinished(() => {
      for (const { signal } of relays) signal('SIGKILL')
    })
    const owners = () => bench.sql('select owner from outbox_leases where owner is not null group by owner')
    await expect.poll(async () => (await owners()).length, { timeout: 20_000 }).toBe(2)

    const write = async () => {
      const args = ['test/support/count-in-child.ts', database.url, String(writers), String(units)]
      return JSON.parse(await runWell(process.execPath, args, { cwd: repository })) as UnitFigures
    }
    const processes = dialect === 'postgresql' ? 4 : 2
    const figures = await Promise.all(Array.from({ length: processes }, write))
    const pending = () => bench.sql("select id from domain_events where status = 'pending'")
    await expect.poll(async () => (await pending()).length, { timeout: 30_000 }).toBe(0)
    for (const child of relays) await child.stop()

    const stored = await bench.sql<Row>(
      'select id, ordering_key, cast(payload as text) as payload from domain_events order by sequence',
    )
    const ofKey = Map.groupBy(stored, ({ ordering_key }) => ordering_key)
    expect(stored.filter(({ payload }) => payload === String(lost))).toEqual([])
    // What a row was told by its version came in the order of the sequence numbers.
    for (const id of rows) {
      const counts = (ofKey.get(`Counter:${id}`) ?? []).flatMap(({ payload }) => (payload === 'null' ? [] : [Number(payload)]))
      expect(counts).toEqual(counts.map((_, place) => place))
      expect(counts.length).toBeGreaterThan(0)
    }
    // And all was published in that order, while writers wrote on.
    const places = new Map([...ofKey.values()].flatMap((ofOne) => ofOne.map(({ id }, place) => [id, place] as const)))
    const delivered = readDeliveries(file).map((each): Delivery => ({ ...each, payload: places.get(each.id) }))
    expect(findInversion(delivered)).toBeUndefined()
    expect(new Set(delivered.map(({ id }) => id))).toEqual(new Set(stored.map(({ id }) => id)))

    expect(figures.map(({ committed }) => committed)).toEqual(figures.map(() => writers * units))
    if (dialect === 'sqlite') return
    // Versions were in each other's way, and locks were not.
    expect(figures.reduce((sum, { retried }) => sum + retried.version, 0)).toBeGreaterThan(0)
    expect(figures.map(({ retried }) => retried.conflict)).toEqual(figures.map(() => 0))
    expect(await countDeadlocks(bench.data)).toBe(0)
  },
)
