import { expect, test } from 'vitest'
import { createDataAccess } from '../../../src/data-access.ts'
import { publishToAll } from '../../../src/outbox/publishing/publish-to-all.ts'
import type { Publisher, PublishFunction } from '../../../src/outbox/publishing/publisher.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../../support/databases.ts'
import { MemoryLogger } from '../../support/memory-logger.ts'
import { closesOpened } from '../../support/opened.ts'

const opened = closesOpened()

async function warningsOf(database: TestDatabase | undefined, publisher: Publisher | PublishFunction): Promise<string[]> {
  const logger = new MemoryLogger()
  const url = database === undefined ? {} : { database: { url: database.url } }
  const data = opened(await createDataAccess({ ...url, logger, cache: false }))
  await data.migrate()
  await data.outbox.relay({ publisher }).drain()
  expect(logger.warnings).toEqual([])
  await data.outbox.relay({ publisher }).start()
  return logger.warnings.map(({ message }) => message)
}

const inPlace = { publisher: () => {} }.publisher
const tellsOfIt = [expect.stringMatching(/Relay "relay".*known to other relays as "(publisher|function)".*publishToAll\('/)]

// Two programs with such a function would each get a part of the events, since the names do not tell them apart.
test.each(dialects)('a function without a name is told of where other processes may relay, on %s', async (dialect) => {
  for (const publisher of [inPlace, (() => () => {})()]) {
    expect(await warningsOf(opened(await openTestDatabase(dialect)), publisher)).toEqual(tellsOfIt)
  }
})

test.each<[string, boolean, Publisher | PublishFunction]>([
  ['a function without a name, in memory', false, inPlace],
  ['a function with one', true, function toWebhook() {}],
  ['one that was given a name', true, publishToAll('publisher', [() => {}])],
  ['an object', true, { name: 'publisher', publish: async () => [] }],
])('%s is not told of', async (_, shared, publisher) => {
  const database = shared ? opened(await openTestDatabase('sqlite')) : undefined
  expect(await warningsOf(database, publisher)).toEqual([])
})
