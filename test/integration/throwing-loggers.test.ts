import { inspect } from 'node:util'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createDataAccess } from '../../src/data-access.ts'
import type { Logger } from '../../src/kernel/logger.ts'
import { dialects, openTestDatabase } from '../support/databases.ts'
import { Note, NoteTagged, notes } from '../support/notes-module.ts'
import { closesOpened } from '../support/opened.ts'

const loggerOf = (log: (message: string, context?: object) => unknown) =>
  ({ debug: log, info: log, warn: log, error: log }) as Logger

const loggers: Readonly<Record<string, Logger>> = {
  throws: loggerOf(() => {
    throw new Error('the logger failed')
  }),
  rejects: loggerOf(async () => {
    throw new Error('the logger failed')
  }),
  // What is logged may hold a bigint or a cycle.
  'writes JSON': loggerOf((_message, context) => JSON.stringify({ one: 1n, ...context })),
}

describe.each(dialects)('a logger that fails on %s', (dialect) => {
  const opened = closesOpened()
  const told: string[] = []
  beforeEach(() => {
    told.length = 0
    for (const level of ['warn', 'error'] as const) {
      vi.spyOn(console, level).mockImplementation((message, context) => void told.push(inspect([message, context])))
    }
  })
  afterEach(() => vi.restoreAllMocks())

  test.each(Object.keys(loggers))(
    'and %s disturbs neither units nor relays, and the console tells what it was to write',
    async (how) => {
      const database = opened(await openTestDatabase(dialect))
      const logger = loggers[how] as Logger
      const data = opened(await createDataAccess({ modules: [notes], database: { url: database.url }, logger }))
      await data.migrate()
      await data.unitOfWork(async ({ em, record, afterCommit }) => {
        record(NoteTagged, em.create(Note, { id: 'a', title: 'a' }), 'a')
        afterCommit(() => {
          throw new Error('the hook failed')
        })
      })
      let calls = 0
      const publisher = () => {
        if (++calls === 1) throw new Error('refused once')
      }
      const relay = data.outbox.relay({ publisher, retry: { baseMs: 1 }, pollInterval: { min: 10, max: 20 } })
      relay.on('published', () => {
        throw new Error('the listener failed')
      })
      await relay.start()
      await expect.poll(async () => (await data.outbox.stats()).backlog).toBe(0)
      expect(relay.status().state).toBe('running')
      await expect.poll(() => told.join('\n')).toMatch(/hook.*was not published.*listener/s)
      expect(told.every((line) => line.includes('The logger that was given failed'))).toBe(true)
    },
  )
})
