import { setImmediate } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { createDataAccess } from '../../src/data-access.ts'
import { dialects, openTestDatabase } from '../support/databases.ts'
import { countDeadlocks } from '../support/deadlocks.ts'
import { Note, notes } from '../support/notes-module.ts'
import { repository, runWell } from '../support/programs.ts'
import { repeats } from '../support/repeats.ts'

interface Row {
  readonly ordering_key: string
  readonly sequence: string | number
  readonly payload: string
}

describe.each(dialects)('writers in several processes on %s', (dialect) => {
  it('give the events of one key their numbers in the order of their commits', { repeats }, async () => {
    const database = await openTestDatabase(dialect)
    const data = await createDataAccess({ modules: [notes], database: { url: database.url } })
    await data.migrate()
    await data.unitOfWork(async ({ em }) => {
      for (let index = 0; index < 5; index++) em.create(Note, { id: `n${index}`, title: `n${index}` })
    })

    const read = () =>
      data
        .fork()
        .getConnection()
        .execute(
          'select ordering_key, sequence, cast(payload as text) as payload from domain_events order by sequence',
        ) as Promise<Row[]>
    let writing = true
    // Whoever reads a number and later finds a lower one of the same key has seen the order broken, as a relay would.
    const late: Row[] = []
    const watch = async () => {
      const seen = new Set<string>()
      const highest = new Map<string, number>()
      while (writing) {
        const rows = await read()
        // SQLite answers without leaving this turn of the event loop; the children want to be heard too.
        await setImmediate()
        for (const row of rows) {
          if (!seen.has(String(row.sequence)) && Number(row.sequence) < (highest.get(row.ordering_key) ?? 0)) late.push(row)
        }
        for (const row of rows) {
          seen.add(String(row.sequence))
          highest.set(row.ordering_key, Math.max(highest.get(row.ordering_key) ?? 0, Number(row.sequence)))
        }
      }
    }
    const watching = watch()
    const child = () =>
      runWell(process.execPath, ['test/support/write-in-child.ts', database.url, '4', '40', '5'], { cwd: repository })
    const processes = dialect === 'postgresql' ? 4 : 2
    try {
      await Promise.all(Array.from({ length: processes }, child))
    } finally {
      writing = false
      await watching
    }

    expect(late).toEqual([])
    const rows = await read()
    const payloads = rows.map((row) => ({
      key: row.ordering_key,
      ...(JSON.parse(row.payload) as { count?: number; lost?: true }),
    }))
    expect(payloads.filter(({ lost }) => lost)).toEqual([])
    for (let index = 0; index < 5; index++) {
      const counts = payloads.flatMap(({ key, count }) => (key === `Note:n${index}` && count !== undefined ? [count] : []))
      expect(counts).toEqual(counts.map((_, position) => position + 1))
    }
    expect(payloads.filter(({ count }) => count !== undefined)).toHaveLength(processes * 4 * 20)
    expect(await countDeadlocks(data)).toBe(0)
    await data.close()
    await database.close()
  })
})
