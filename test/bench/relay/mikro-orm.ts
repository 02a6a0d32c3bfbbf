import { createDataAccess } from '@innovateai/data-access'
import { DomainEvent } from '@innovateai/data-access/outbox'
import { LockMode } from '@mikro-orm/core'
import { Redis } from 'ioredis'
import { addAll, compete, fillOutbox } from '../contestant.ts'

// As users write it: find with SKIP LOCKED, publish, change, flush.
await compete(async ({ databaseUrl, redisUrl, stream, events, batch }) => {
  const data = await createDataAccess({ database: { url: databaseUrl } })
  await fillOutbox(databaseUrl, events)
  const redis = new Redis(redisUrl)
  const drainBatch = () =>
    data.fork().transactional(async (em) => {
      const pending = await em.find(
        DomainEvent,
        { status: 'pending' },
        { orderBy: { sequence: 'asc' }, limit: batch, lockMode: LockMode.PESSIMISTIC_PARTIAL_WRITE },
      )
      await addAll(
        redis,
        stream,
        pending.map(({ id, payload }) => ({ id, payload: JSON.stringify(payload) })),
      )
      for (const event of pending) {
        event.status = 'published'
        event.publishedAt = new Date()
      }
      return pending.length
    })
  return {
    drain: async () => {
      while ((await drainBatch()) > 0);
    },
    close: async () => {
      await data.close()
      await redis.quit()
    },
  }
})
