import { inspect } from 'node:util'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createDataAccess } from '../../src/data-access.ts'
import { withQueries } from '../../src/database/query-scope.ts'
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

  // A line is warned of once in a process, for each statement.
  const statements = { throws: ['id'], rejects: ['title'], 'writes JSON': ['count'] } as const
  test.each(Object.keys(loggers))('and %s takes no result from a block whose queries it is to warn of', async (how) => {
    const database = opened(await openTestDatabase(dialect))
    const data = opened(await createDataAccess({ modules: [notes], database: { url: database.url } }))
    await data.migrate()
    const em = data.fork()
    const block = async () => {
      const fields = statements[how as keyof typeof statements]
      for (const id of ['a', 'b', 'c']) await em.findOne(Note, id, { fields })
      return 'result'
    }
    expect(await withQueries(block, { nPlusOne: 'warn', logger: loggers[how] as Logger })).toBe('result')
    await expect.poll(() => told.join()).toMatch(/N\+1: Note was read by key.*The logger that was given failed/)
  })
})
