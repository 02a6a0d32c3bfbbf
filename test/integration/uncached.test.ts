import { FlushMode } from '@mikro-orm/core'
import { expect, test } from 'vitest'
import { assessment, User, userCache } from '../../src/assessment/index.ts'
import { createDataAccess } from '../../src/data-access.ts'
import { dialects, openTestDatabase } from '../support/databases.ts'
import { MemoryLogger } from '../support/memory-logger.ts'
import { closesOpened } from '../support/opened.ts'

const opened = closesOpened()

const places = {
  'sqlite in memory': async () => undefined,
  ...Object.fromEntries(dialects.map((dialect) => [dialect, async () => opened(await openTestDatabase(dialect)).url])),
}

/** A data access with `cache: false`. */
async function open(place: string) {
  const url = await places[place as keyof typeof places]?.()
  const logger = new MemoryLogger()
  const database = url === undefined ? {} : { database: { url } }
  const data = opened(await createDataAccess({ modules: [assessment], logger, cache: false, ...database }))
  await data.migrate()
  return { data, logger }
}

test.each(Object.keys(places))('without a cache nothing expires, on %s', async (place) => {
  const { data, logger } = await open(place)
  const { id } = await data.unitOfWork(async ({ em }) => em.create(User, { email: 'a@innovateai.dev', name: 'old' }))
  await data.unitOfWork(async ({ em }) => void em.assign(await em.findOneOrFail(User, id), { name: 'new' }))
  await data.fork().nativeUpdate(User, { id }, { name: 'newer' })
  expect((await data.cached(userCache).get(id))?.name).toBe('newer')
  expect((await data.stats()).cache?.invalidations).toEqual({ keys: 0, unacknowledged: 0, waiting: 0, swept: 0 })
  // In memory no other process could cache what it writes.
  expect(logger.warnings).toHaveLength(place === 'sqlite in memory' ? 0 : 1)
})

test('without a cache a read finds what its em has not flushed, where that flushes before each find', async () => {
  const { data } = await open('sqlite in memory')
  const { id } = await data.unitOfWork(async ({ em }) => em.create(User, { email: 'a@innovateai.dev', name: 'old' }))
  const em = data.fork()
  em.setFlushMode(FlushMode.ALWAYS)
  const user = await em.findOneOrFail(User, id)
  user.email = 'b@innovateai.dev'
  expect(await data.cached(userCache, { em }).byEmail('b@innovateai.dev')).toBe(user)
})
