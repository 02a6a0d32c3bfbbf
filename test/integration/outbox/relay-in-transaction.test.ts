import type { EventSubscriber } from '@mikro-orm/core'
import { afterEach, expect, test } from 'vitest'
import { MemoryPublisher } from '../../../src/testing/memory-publisher.ts'
import { dialects } from '../../support/databases.ts'
import { closeNotes, openNotes } from '../../support/notes-access.ts'
import { Note } from '../../support/notes-module.ts'

afterEach(closeNotes)

test.each(dialects.flatMap((dialect) => (['start', 'drain', 'stop'] as const).map((door) => ({ dialect, door }))))(
  '$door() on $dialect is refused in a unit of work also where a transaction of another ORM stands in between',
  { timeout: 20_000 },
  async ({ dialect, door }) => {
    const data = await openNotes(dialect)
    const other = await openNotes(dialect)
    const relay = data.outbox.relay({ publisher: new MemoryPublisher() })
    const called = data.unitOfWork(() => other.orm.em.fork().transactional(async () => void (await relay[door]())))
    await expect(called).rejects.toMatchObject({ code: 'TRANSACTION_FORK', message: expect.stringContaining(`${door}()`) })
    // In the transaction of another ORM alone nothing is waited for.
    await other.unitOfWork(async () => void (await relay[door]()))
    await relay.stop()
  },
)

test.each(
  dialects.flatMap((dialect) =>
    (['start', 'drain', 'stop'] as const).flatMap((door) =>
      (['beforeTransactionCommit', 'beforeTransactionRollback'] as const).map((hook) => ({ dialect, door, hook })),
    ),
  ),
)('$door() on $dialect is refused in a subscriber of $hook', { timeout: 20_000 }, async ({ dialect, door, hook }) => {
  const data = await openNotes(dialect)
  const relay = data.outbox.relay({ publisher: new MemoryPublisher() })
  let told: unknown
  const subscriber: EventSubscriber = {
    [hook]: async () => {
      told ??= await Promise.resolve(relay[door]()).catch((error: unknown) => error)
    },
  }
  data.orm.em.getEventManager().registerSubscriber(subscriber)
  await data
    .unitOfWork(async ({ em }) => {
      em.create(Note, { id: 'a', title: 'a' })
      await em.flush()
      if (hook === 'beforeTransactionRollback') throw new Error('rolled back')
    })
    .catch((error: Error) => expect(error.message).toBe('rolled back'))
  expect(told).toMatchObject({ code: 'TRANSACTION_FORK' })
  // Behind the end nothing is in the way.
  await relay.drain()
})
