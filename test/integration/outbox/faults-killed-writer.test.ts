import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { dialects, openTestDatabase, type TestDialect } from '../../support/databases.ts'
import type { Failpoint } from '../../support/failpoint.ts'
import { Note, NoteTagged } from '../../support/notes-module.ts'
import { openOutbox } from '../../support/outbox-bench.ts'

interface Step {
  readonly failpoint: Failpoint
  /** Whether the unit has committed there; `undefined`: nobody can know. */
  readonly committed: boolean | undefined | Readonly<Record<TestDialect, boolean>>
}

/** The commit, alone or with what travels with it. */
const commit = '(^|;)commit$'

/** Every step of a unit of work. */
const steps: Readonly<Record<string, Step>> = {
  'after the flush of its rows': { failpoint: { statement: 'insert into [`"]notes', when: 'after' }, committed: false },
  'before the events are inserted': { failpoint: { statement: 'insert into domain_events', when: 'before' }, committed: false },
  'after the events were inserted': {
    failpoint: { statement: 'insert into domain_events', when: 'after' },
    committed: { sqlite: false, postgresql: true },
  },
  'before the commit': { failpoint: { statement: commit, when: 'before' }, committed: false },
  'while the commit is on its way': { failpoint: { statement: commit, when: 'sent' }, committed: undefined },
  'after the commit, before it woke the relay': { failpoint: { statement: commit, when: 'after' }, committed: true },
}

async function endOfWriter(url: string, failpoint: Failpoint): Promise<unknown> {
  const script = fileURLToPath(new URL('../../support/write-once-in-child.ts', import.meta.url))
  const child = fork(script, [url, JSON.stringify(failpoint)], { execArgv: [] })
  const [, signal] = await once(child, 'exit')
  return signal
}

describe.each(dialects)('a writer on %s that is killed', (dialect) => {
  test.each(Object.keys(steps))('%s leaves its rows and events both or neither, and holds nobody up', async (step) => {
    const { failpoint, ...expected } = steps[step] as Step
    const committed = typeof expected.committed === 'object' ? expected.committed[dialect] : expected.committed
    const database = await openTestDatabase(dialect)
    const bench = await openOutbox(database.url)
    const published: unknown[] = []
    const relay = bench.outbox.relay({
      publisher: (event) => void published.push(event.payload),
      pollInterval: { min: 5, max: 50 },
    })
    await relay.start()
    expect(await endOfWriter(database.url, failpoint)).toBe('SIGKILL')

    // The next writer of the same row and key waits for no lock of the dead one longer than the database needs to notice.
    await bench.data.unitOfWork(async ({ em, record }) => {
      const note = (await em.findOne(Note, 'a')) ?? em.create(Note, { id: 'a', title: 'a' })
      note.count++
      record(NoteTagged, note, 'next')
    })
    await expect.poll(() => published.includes('next'), { timeout: 10_000 }).toBe(true)
    const before = published.slice(0, -1)
    if (committed === undefined) expect([0, 3]).toContain(before.length)
    else expect(before).toHaveLength(committed ? 3 : 0)
    expect(before).toEqual([0, 1, 2].slice(0, before.length))
    expect(await bench.data.fork().count(Note)).toBe(1)
    await relay.stop()
    await bench.close()
    await database.close()
  })
})
